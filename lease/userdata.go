package lease

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"regexp"
)

// BinaryUserData is the field of a frozen request for user-data that is no text, in base64. EC2 has no such field.
const BinaryUserData = "UserDataBase64"

// WithoutUserData is a frozen request that has of user-data, which may hold secrets, the size and the SHA-256 alone: for people
// and programs to read, and for the records of launches that are never sent again. One that has no more already stays as it is.
func WithoutUserData(request json.RawMessage) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(request, &fields) != nil {
		return request
	}
	var text string
	var binary []byte
	switch {
	case fields["UserData"] != nil && json.Unmarshal(fields["UserData"], &text) == nil:
		binary = []byte(text)
	case fields[BinaryUserData] != nil && json.Unmarshal(fields[BinaryUserData], &binary) == nil:
	default:
		return request
	}
	if regexp.MustCompile(`^\d+ bytes, sha256:[0-9a-f]{64}$`).MatchString(text) {
		return request
	}
	delete(fields, BinaryUserData)
	fields["UserData"], _ = json.Marshal(fmt.Sprintf("%d bytes, sha256:%x", len(binary), sha256.Sum256(binary)))
	without, err := json.Marshal(fields)
	if err != nil {
		return nil
	}
	return without
}
