package ec2

import (
	"bufio"
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// answerHead is how much of an answer is checked before it is read: EC2 begins each with its request id.
const answerHead = 1024

// alienError says that something else than EC2 answered with success: a proxy, a captive portal, a gateway that lost the
// content. The SDK takes such an answer for one without a single instance in it.
type alienError struct {
	operation string
	status    int
	begins    string
}

func (e *alienError) Error() string {
	if e.begins == "" {
		return fmt.Sprintf("the answer to %s is empty (HTTP %d): something between here and AWS lost it", e.operation, e.status)
	}
	return fmt.Sprintf("the answer to %s is not from AWS (HTTP %d): it begins with %q; check for a proxy", e.operation, e.status, e.begins)
}

// RetryableError tells the SDK to ask again what may be asked again.
func (e *alienError) RetryableError() bool { return true }

// withOwnAnswers refuses what is no answer of EC2 or STS: one without the root element of the operation, without a request
// id in it, or with a success other than 200, such as 204 or a proxy's 203. It is for the clients of these two alone: what
// gives credentials on the way to a call answers otherwise. Errors have their own form, and those that lack it count for no
// answer already.
//
// Sources: https://docs.aws.amazon.com/ec2/latest/devguide/ec2-query-api.html#query-response and
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html#API_GetCallerIdentity_Examples
func withOwnAnswers(stack *middleware.Stack) error {
	const id = "lapse.own-answers"
	check := func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (
		middleware.DeserializeOutput, middleware.Metadata, error,
	) {
		out, metadata, err := next.HandleDeserialize(ctx, in)
		resp, is := out.RawResponse.(*smithyhttp.Response)
		if err != nil || !is || resp.StatusCode >= http.StatusMultipleChoices {
			return out, metadata, err
		}
		return out, metadata, checkAnswer(ctx, resp)
	}
	return stack.Deserialize.Insert(middleware.DeserializeMiddlewareFunc(id, check), "OperationDeserializer", middleware.After)
}

func checkAnswer(ctx context.Context, resp *smithyhttp.Response) error {
	requestID := map[string]string{"EC2": "<requestId>", "STS": "<RequestId>"}[awsmiddleware.GetServiceID(ctx)]
	if requestID == "" {
		return nil
	}
	operation := middleware.GetOperationName(ctx)
	body := resp.Body
	ahead := bufio.NewReaderSize(body, answerHead)
	head, _ := ahead.Peek(answerHead) // what fails will fail again for who reads it all
	if resp.StatusCode != http.StatusOK || root(head) != operation+"Response" {
		return &alienError{operation, resp.StatusCode, string(head[:min(len(head), 40)])}
	}
	resp.Body = readCloser{ahead, body}
	if bytes.Contains(head, []byte(requestID)) {
		return nil
	}
	all, err := io.ReadAll(ahead) // endpoints other than AWS's may have it at the end
	if err != nil {
		return err
	}
	resp.Body = readCloser{bytes.NewReader(all), body}
	if !bytes.Contains(all, []byte(requestID)) {
		return &alienError{operation, resp.StatusCode, string(all[:min(len(all), 40)])}
	}
	return nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

// root is the name of the first element.
func root(head []byte) string {
	for decoder := xml.NewDecoder(bytes.NewReader(head)); ; {
		token, err := decoder.RawToken()
		if err != nil {
			return ""
		}
		if element, is := token.(xml.StartElement); is {
			return element.Name.Local
		}
	}
}
