// Package identity verifies instance identity documents: what EC2 says of an instance to the instance itself, signed, so that the
// instance can prove to others which one it is. It knows no network: whoever asks brings the document, and the Region in which
// the instance is expected.
//
//   - certificates.go: [Certificates], by Region: those that AWS publishes, and a file beside them.
//   - verify.go: [Certificates.Verify], which believes nothing that is not signed, and [RefusedError].
//
// A document is no secret: programs on the instance, its backups and its images may have it. It proves which instance somebody
// once was on, not that it is there now.
//
// Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html
package identity
