package edge

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

// readProxy reads a PROXY header of version 2, and nothing behind it. It returns the caller's address, or none if the proxy calls
// by itself, as for a health check (command LOCAL).
//
// Headers have at most 16 bytes and those that proxyproto.MaxV2HeaderSize allows, 4096. They may come in pieces; whoever calls
// sets the deadline. Their vectors (TLVs) are read and ignored, the checksum among them.
//
// Source: https://www.haproxy.org/download/3.4/doc/proxy-protocol.txt, section 2.2
func readProxy(r *bufio.Reader) (caller netip.AddrPort, err error) {
	header, err := proxyproto.Read(r)
	switch {
	case err != nil:
		return caller, fmt.Errorf("read the PROXY header: %w", err)
	case header.Version != 2:
		return caller, fmt.Errorf("the PROXY header has version %d, not 2", header.Version)
	case header.Command == proxyproto.LOCAL:
		return caller, nil
	}
	addr, is := header.SourceAddr.(*net.TCPAddr)
	if !is {
		return caller, errors.New("the PROXY header is not about TCP")
	}
	caller = plain(addr.AddrPort())
	if !caller.IsValid() || caller.Addr().IsUnspecified() {
		return netip.AddrPort{}, errors.New("the PROXY header has no address")
	}
	return caller, nil
}

// beginsProxy says whether the first bytes of a connection are those of a PROXY header, of either version.
func beginsProxy(first []byte) bool {
	return len(first) > 0 && (bytes.HasPrefix(proxyproto.SIGV1, first) || bytes.HasPrefix(proxyproto.SIGV2, first))
}

// plain is an address as others write it: IPv4 not inside IPv6, no zone.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
