package cli

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// valuesOf reads a text as the value of a flag, wherever it was given: on the command line, in the environment or in a
// file. The result is what urfave/cli is to read: a number in plain decimal digits, true or false, and the entries of a
// list one by one, without the spaces around them. wrong says what is wrong with the text; empty if nothing is.
func valuesOf(flag cli.Flag, text string) (values []string, wrong string) {
	switch flag.(type) {
	case *cli.IntFlag:
		text, wrong = wholeNumber(text)
	case *cli.Float64Flag:
		wrong = notDecimal(text)
	case *cli.BoolFlag:
		text, wrong = trueOrFalse(text)
	case *cli.StringSliceFlag:
		return entries(flag, text)
	default:
		wrong = check(flag.Names()[0], text)
	}
	return []string{text}, wrong
}

// entries takes a list apart at its commas. A pair is one entry: its value may have commas.
func entries(flag cli.Flag, text string) (list []string, wrong string) {
	if strings.Contains(placeholder(flag), "=") {
		return []string{text}, ""
	}
	for entry := range strings.SplitSeq(text, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			return nil, fmt.Sprintf("%q has an empty entry; leave out the comma, or write what is missing", text)
		}
		if wrong := check(flag.Names()[0], entry); wrong != "" {
			return nil, wrong
		}
		list = append(list, entry)
	}
	return list, ""
}

// wholeNumber reads decimal digits alone: 010 is ten, and 0x10 is refused rather than taken for sixteen.
func wholeNumber(text string) (plain, wrong string) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return "", fmt.Sprintf("%q is not a whole decimal number, or too large", text)
	}
	return strconv.Itoa(n), ""
}

func notDecimal(text string) (wrong string) {
	if _, err := strconv.ParseFloat(text, 64); err != nil || strings.ContainsAny(text, "xX_") {
		return fmt.Sprintf("%q is not a decimal number", text)
	}
	return ""
}

// trueOrFalse also reads the words that YAML has for the two.
func trueOrFalse(text string) (plain, wrong string) {
	switch strings.ToLower(text) {
	case "yes", "on":
		return "true", ""
	case "no", "off":
		return "false", ""
	}
	if yes, err := strconv.ParseBool(text); err == nil {
		return strconv.FormatBool(yes), ""
	}
	return "", fmt.Sprintf("%q is neither true nor false", text)
}

// check says what is wrong with one value of a flag that takes a text; empty if nothing is. Every command is told so
// before it creates anything.
func check(flag, text string) (wrong string) {
	switch flag {
	case "etcd-endpoints":
		return checkEndpoint(text)
	case "region":
		return checkRegion(text)
	case "namespace":
		return checkNamespace(text)
	case "log-level":
		text = strings.ToLower(text)
	case "state": // of which `lease list` says more
		return ""
	}
	choices := values(flag)
	if last := len(choices) - 1; last > 0 && text != "" && !slices.Contains(choices, text) {
		return fmt.Sprintf("%q: choose %s or %s", text, strings.Join(choices[:last], ", "), choices[last])
	}
	return ""
}

// checkEndpoint refuses what etcd's client would only try for as long as it may.
func checkEndpoint(text string) (wrong string) {
	const forms = "write it as host:2379, https://host:2379 or unix:///path/etcd.sock"
	path, isUnix := strings.CutPrefix(text, "unix:")
	u, err := url.Parse(text)
	hostPort := text
	switch scheme, rest, has := strings.Cut(text, "://"); {
	case isUnix:
		if strings.HasPrefix(strings.TrimPrefix(path, "//"), "/") {
			return ""
		}
		return fmt.Sprintf("%q is not an etcd endpoint: a socket's path begins with /; %s", text, forms)
	case has && (err != nil || scheme != "http" && scheme != "https"):
		return fmt.Sprintf("%q is not an etcd endpoint; %s", text, forms)
	case has && (u.User != nil || u.RawQuery != "" || strings.Trim(u.Path, "/") != ""):
		return fmt.Sprintf("%q is not an etcd endpoint: it has more than a host and a port; %s", u.Redacted(), forms)
	case has:
		hostPort = strings.TrimRight(rest, "/")
	}
	host, port, err := net.SplitHostPort(hostPort)
	if n, no := strconv.Atoi(port); err != nil || no != nil || n < 1 || n > 65535 || host == "" || strings.ContainsAny(host, " \t/") {
		return fmt.Sprintf("%q is not an etcd endpoint; %s", text, forms)
	}
	return ""
}

// checkRegion refuses what is no Region anywhere. Endpoints other than AWS's have names of their own for theirs.
func checkRegion(text string) (wrong string) {
	found := regexp.MustCompile(`^([a-z]{2}(-[a-z]+)+-[0-9]+)([a-z]?)$`).FindStringSubmatch(strings.ToLower(text))
	switch {
	case found != nil && found[3] != "":
		return fmt.Sprintf("%q is a zone; its Region is %s", text, found[1])
	case found != nil && found[1] != text: // AWS would take it for another, and so would all who compare it
		return fmt.Sprintf("%q is not an AWS Region; write it as %s", text, found[1])
	}
	if !regexp.MustCompile(`^[A-Za-z0-9-]+$`).MatchString(text) {
		return fmt.Sprintf("%q is not an AWS Region; write it as us-east-1", text)
	}
	return ""
}

// checkNamespace refuses a name that could reach into another registry's keys.
func checkNamespace(name string) (wrong string) {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
	if name == "" || strings.Trim(name, allowed) != "" {
		return fmt.Sprintf("%q may have only the characters A-Z a-z 0-9 - _ and .", name)
	}
	return ""
}
