package ec2

import (
	"net/http"
	"slices"
	"strings"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// productOf is a product that takes EC2's place and ignores client tokens, as its answer shows; empty if it shows none. moto is
// served by Werkzeug, and LocalStack, whose EC2 is moto's, names itself.
//
// Source: https://docs.getmoto.org/en/latest/docs/server_mode.html, and answers of moto 5.2.1
func productOf(answer http.Header) string {
	switch {
	case slices.ContainsFunc(answer.Values("Server"), func(s string) bool { return strings.HasPrefix(s, "Werkzeug/") }):
		return "moto"
	case answer.Get("X-Localstack") != "":
		return "LocalStack"
	}
	return ""
}

// recognise notes the product that an answer shows.
func (c *Cloud) recognise(out middleware.DeserializeOutput) {
	answer, is := out.RawResponse.(*smithyhttp.Response)
	if !is || answer == nil {
		return
	}
	if product := productOf(answer.Header); product != "" {
		c.product.Store(&product)
	}
}

// IgnoresTokens says of which product it is known that it ignores client tokens, by the answers so far; empty if of none. Then a
// launch whose answer is lost must not be sent again: see [lapse/lease.AnimaKeyPair].
func (c *Cloud) IgnoresTokens() string {
	if product := c.product.Load(); product != nil {
		return *product
	}
	return ""
}
