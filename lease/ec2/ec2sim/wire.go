package ec2sim

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"time"
)

// apiError is what EC2 answers when it refuses.
type apiError struct {
	Code    string
	Message string
	Status  int // HTTP status
}

func (e *apiError) Error() string { return e.Code + ": " + e.Message }

// refusal returns an apiError with the status that belongs to the code.
func refusal(code, format string, args ...any) *apiError {
	status, _ := statusOf(code)
	return &apiError{Code: code, Message: fmt.Sprintf(format, args...), Status: status}
}

// protocol is how a service writes its requests and answers.
type protocol int

const (
	ec2Query protocol = iota
	stsQuery
	ssmJSON
)

const (
	ec2Namespace = "http://ec2.amazonaws.com/doc/2016-11-15/"
	stsNamespace = "https://sts.amazonaws.com/doc/2011-06-15/"
)

// head is the first element of every answer of EC2. Answers embed it.
type head struct {
	RequestID string `xml:"requestId"`
}

func (h *head) identify(id string) { h.RequestID = id }

// body is an answer's content.
type body interface{ identify(requestID string) }

// done is the answer of an action that has nothing to say.
type done struct {
	head
	Return bool `xml:"return"`
}

// set is a list as EC2 writes it: an element that is there even when empty,
// with one element item for each member.
type set[T any] struct {
	Items []T `xml:"item"`
}

// setOf is a list of rows, each in the form of an answer.
func setOf[Row, Item any](rows []Row, item func(Row) Item) (all set[Item]) {
	for _, row := range rows {
		all.Items = append(all.Items, item(row))
	}
	return all
}

// encode writes the answer to a deed that was done.
func (q *request) encode(b body) (contentType string, answer []byte, err error) {
	if q.protocol == ssmJSON {
		answer, err = json.Marshal(b)
		return "application/x-amz-json-1.1", answer, err
	}
	b.identify(q.id)
	namespace := ec2Namespace
	if q.protocol == stsQuery {
		namespace = stsNamespace
	}
	buf := bytes.NewBufferString(xml.Header)
	err = xml.NewEncoder(buf).EncodeElement(b, xml.StartElement{
		Name: xml.Name{Local: q.action + "Response"},
		Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: namespace}},
	})
	return "text/xml;charset=UTF-8", buf.Bytes(), err
}

// ec2Refusal and stsRefusal are errors as the two services write them; EC2's
// request id is spelt differently from that of its answers.
type ec2Refusal struct {
	XMLName xml.Name `xml:"Response"`
	Code    string   `xml:"Errors>Error>Code"`
	Message string   `xml:"Errors>Error>Message"`
	Request string   `xml:"RequestID"`
}

type stsRefusal struct {
	XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
	Type    string   `xml:"Error>Type"`
	Code    string   `xml:"Error>Code"`
	Message string   `xml:"Error>Message"`
	Request string   `xml:"RequestId"`
}

type ssmRefusal struct {
	Code    string `json:"__type"`
	Message string `json:"message"`
}

// encodeRefusal writes an error.
func (q *request) encodeRefusal(e *apiError) (contentType string, answer []byte, err error) {
	switch q.protocol {
	case ssmJSON:
		answer, err = json.Marshal(ssmRefusal{e.Code, e.Message})
		return "application/x-amz-json-1.1", answer, err
	case stsQuery:
		answer, err = xml.Marshal(stsRefusal{Type: "Sender", Code: e.Code, Message: e.Message, Request: q.id})
	default:
		answer, err = xml.Marshal(ec2Refusal{Code: e.Code, Message: e.Message, Request: q.id})
	}
	return "text/xml;charset=UTF-8", append([]byte(xml.Header), answer...), err
}

// asRefusal returns err as what EC2 would answer; anything that is not a
// refusal is an internal error.
func asRefusal(err error) *apiError {
	var e *apiError
	if errors.As(err, &e) {
		return e
	}
	return refusal("InternalError", "%v", err)
}

// checkpoint writes a time as EC2 does.
func checkpoint(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// tagItem is a tag in an answer.
type tagItem struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}
