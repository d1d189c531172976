package launch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"time"
	"unicode/utf8"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"lapse/lease"
)

// RequestError refuses a request before anything was stored or sent.
type RequestError struct {
	Field  string // as in the request: "NetworkInterfaces[0].SubnetId"; empty for the request as a whole
	Why    string // what is wrong and, unless that is for Option to say, what to do
	Option string // the field of [Request] to give, or to leave out: "ImageID"; empty if none is concerned
}

func (e *RequestError) Error() string {
	if e.Field == "" {
		return "request " + e.Why
	}
	return "request: " + e.Field + " " + e.Why
}

// readSkeleton reads a RunInstances request in the AWS CLI's JSON form. A field that EC2 does not have is an error, and
// what the CLI's skeleton puts where nothing was filled in counts as absent.
//
// Errors: [RequestError].
//
// Source: https://docs.aws.amazon.com/cli/latest/userguide/cli-usage-skeleton.html
func readSkeleton(data []byte) (*awsec2.RunInstancesInput, error) {
	in := &awsec2.RunInstancesInput{}
	if len(bytes.TrimSpace(data)) == 0 {
		return in, nil
	}
	if !utf8.Valid(data) {
		return nil, &RequestError{Why: "is not UTF-8", Option: "UserData"}
	}
	var filled any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&filled); err != nil {
		return nil, &RequestError{Why: fmt.Sprintf("is not JSON%s: %v", lineOf(data, err), err)}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, &RequestError{Why: "has extra data after its end"}
	}
	filled, present := prune(filled)
	if !present {
		return in, nil
	}
	if err := fits("", filled, reflect.TypeOf(in)); err != nil {
		return nil, err
	}
	pruned, err := json.Marshal(filled)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	if err := json.Unmarshal(pruned, in); err != nil {
		if mismatch, is := errors.AsType[*json.UnmarshalTypeError](err); is {
			return nil, &RequestError{Field: mismatch.Field, Why: "does not accept the value " + mismatch.Value}
		}
		return nil, &RequestError{Why: fmt.Sprintf("has a value that EC2 does not accept: %v", err)}
	}
	return in, nil
}

// lineOf says in which line of a text the error is.
func lineOf(data []byte, err error) string {
	at := len(data)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		at = min(int(syntax.Offset), at)
	}
	return fmt.Sprintf(" in line %d", 1+bytes.Count(data[:at], []byte("\n")))
}

// writeSkeleton is the inverse of readSkeleton: what is absent is left out, and keys are in order, so that the same
// request always gives the same text.
func writeSkeleton(in *awsec2.RunInstancesInput) (json.RawMessage, error) {
	text := *in
	fields := map[string]any{}
	if in.UserData != nil && !utf8.ValidString(*in.UserData) { // which JSON cannot hold
		text.UserData, fields[lease.BinaryUserData] = nil, []byte(*in.UserData)
	}
	if filled, present := said(reflect.ValueOf(text)); present {
		maps.Copy(fields, filled.(map[string]any)) //nolint:forcetypeassert // a struct is an object
	}
	data, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	return data, nil
}

// said is what a value of the SDK says, in JSON's terms. A pointer to zero, to false or to an empty string says
// something; a nil one, and a list or an object of nothing, do not.
func said(v reflect.Value) (any, bool) {
	switch _, date := v.Interface().(time.Time); {
	case v.Kind() == reflect.Pointer && v.IsNil():
		return nil, false
	case v.Kind() == reflect.Pointer && v.Type() != reflect.TypeFor[*time.Time]() && v.Elem().Kind() == reflect.Struct:
		return said(v.Elem())
	case v.Kind() == reflect.Pointer, date:
		return v.Interface(), true
	case v.Kind() == reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i], _ = said(v.Index(i))
		}
		return list, len(list) > 0
	case v.Kind() == reflect.Struct:
		object := map[string]any{}
		for field, inner := range v.Fields() {
			if !field.IsExported() {
				continue
			}
			if element, present := said(inner); present {
				object[field.Name] = element
			}
		}
		return object, len(object) > 0
	}
	return v.Interface(), !v.IsZero()
}

// skeletonTime is what the skeleton puts where a date belongs.
const skeletonTime = "1970-01-01T00:00:00"

// prune removes the placeholders of a skeleton from a JSON value, and reports whether anything is left of it. False is
// always an answer. So is zero where EC2 has a meaning for it, but in an object in which nothing was filled in; and so is
// the empty NoDevice that leaves out a device of the image and stands alone beside its name.
func prune(value any) (any, bool) {
	switch v := value.(type) {
	case nil:
		return nil, false
	case string:
		return v, v != "" && v != skeletonTime
	case []any:
		kept := make([]any, 0, len(v))
		for _, element := range v {
			if element, present := prune(element); present {
				kept = append(kept, element)
			}
		}
		return kept, len(kept) > 0
	case map[string]any:
		kept := pruneObject(v)
		return kept, len(kept) > 0
	}
	return value, true
}

func pruneObject(object map[string]any) map[string]any {
	kept, zeros := make(map[string]any, len(object)), make(map[string]any)
	blank := false
	for key, element := range object {
		filled, present := prune(element)
		switch n, number := element.(json.Number); {
		case number && isZero(n) && noZero(key):
			blank = true
		case number && isZero(n) && key != "DeviceIndex": // of an interface, which it alone describes
			zeros[key] = n
		case present:
			kept[key] = filled
		default:
			blank = blank || element != nil
		}
	}
	if _, tags := object["Tags"]; tags && len(kept) == 1 && kept["ResourceType"] != nil { // any kind, to be tagged with nothing
		return nil
	}
	if len(kept) > 0 || !blank {
		maps.Copy(kept, zeros)
	}
	if noDevice, given := object["NoDevice"]; given && noDevice == "" && len(kept) == 1 && kept["DeviceName"] != nil {
		kept["NoDevice"] = ""
	}
	return kept
}

func isZero(n json.Number) bool {
	f, err := n.Float64()
	return err == nil && f == 0
}

// noZero reports whether EC2 takes no zero for a number, so that one is a placeholder. Of others it means something: that
// an instance gets no IPv6 address although its subnet gives one, or that a network card is the first.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RunInstances.html and the types that it names
func noZero(field string) bool {
	return slices.Contains([]string{
		"BlockDurationMinutes", "CoreCount", "Count", "HttpPutResponseHopLimit", "Iops", "MaxCount", "MinCount", "PartitionNumber",
		"TcpEstablishedTimeout", "ThreadsPerCore", "Throughput", "UdpStreamTimeout", "UdpTimeout", "ValidUntil",
		"VolumeInitializationRate", "VolumeSize",
	}, field)
}

// fits checks that a JSON value has only the fields and kinds of a type of the SDK. path names it.
func fits(path string, value any, t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	wrong := func(want string) error { return &RequestError{Field: path, Why: "must be " + want} }
	if object, isObject := value.(map[string]any); isObject {
		if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() {
			return wrong(kindName(t))
		}
		return fieldsFit(path, object, t)
	}
	if list, isList := value.([]any); isList {
		if t.Kind() != reflect.Slice {
			return wrong(kindName(t))
		}
		for i, element := range list {
			if err := fits(fmt.Sprintf("%s[%d]", path, i), element, t.Elem()); err != nil {
				return err
			}
		}
		return nil
	}
	var have string
	switch value.(type) {
	case string:
		have = "a string"
	case json.Number:
		have = "a number"
	case bool:
		have = "true or false"
	}
	if have == kindName(t) {
		return nil
	}
	return wrong(kindName(t))
}

// fieldsFit checks the fields of an object, and brings times into the one form that JSON has for them.
func fieldsFit(path string, object map[string]any, t reflect.Type) error {
	for _, name := range slices.Sorted(maps.Keys(object)) {
		at := name
		if path != "" {
			at = path + "." + name
		}
		field, known := t.FieldByName(name)
		if !known || !field.IsExported() {
			return &RequestError{Field: at, Why: "is not a field of run-instances; see `aws ec2 run-instances --generate-cli-skeleton`"}
		}
		if field.Type == reflect.TypeFor[*time.Time]() {
			date, ok := parseTime(fmt.Sprint(object[name]))
			if !ok {
				return &RequestError{Field: at, Why: fmt.Sprintf("must be %s, not %v", kindName(field.Type.Elem()), object[name])}
			}
			object[name] = date
			continue
		}
		if err := fits(at, object[name], field.Type); err != nil {
			return err
		}
	}
	return nil
}

// kindName says in JSON's words what a type takes.
func kindName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "a time such as 2027-01-31T00:00:00Z, 2027-01-31 or 1801353600"
	case t.Kind() == reflect.Struct:
		return "an object"
	case t.Kind() == reflect.Slice:
		return "a list"
	case t.Kind() == reflect.String:
		return "a string"
	case t.Kind() == reflect.Bool:
		return "true or false"
	}
	return "a number"
}
