package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// What follows is grpc/health/v1/health.proto: a request with a name, and an answer with
// a number. Each is one field of protobuf behind the five bytes that gRPC puts before a
// message: whether it is compressed, and its length.

// grpcPrefix is the length of what is before a message.
const grpcPrefix = 5

// The kinds of protobuf's fields.
const (
	wireVarint = 0
	wire64     = 1
	wireBytes  = 2
	wire32     = 5
)

// healthRequest returns a HealthCheckRequest: service is field 1.
func healthRequest(service string) []byte {
	var m []byte
	if service != "" {
		m = append(m, 1<<3|wireBytes)
		m = binary.AppendUvarint(m, uint64(len(service)))
		m = append(m, service...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m))), m...)
}

// servingStatuses are those of a HealthCheckResponse.
var servingStatuses = []string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}

const serving = 1

var errMalformed = errors.New("malformed")

// grpcLength is how long a message is, or will be.
func grpcLength(b []byte) int {
	if len(b) < grpcPrefix {
		return len(b)
	}
	return max(len(b), grpcPrefix+int(binary.BigEndian.Uint32(b[1:])))
}

// parseHealthResponse reads a HealthCheckResponse with its prefix: status is field 1.
func parseHealthResponse(b []byte) (status uint64, err error) {
	switch {
	case len(b) < grpcPrefix:
		return 0, errMalformed
	case b[0] != 0: // compressed, which nobody has asked for
		return 0, errMalformed
	case uint64(binary.BigEndian.Uint32(b[1:])) != uint64(len(b)-grpcPrefix):
		return 0, errMalformed
	}
	for m := b[grpcPrefix:]; len(m) > 0; {
		tag, n := binary.Uvarint(m)
		if n <= 0 || tag>>3 == 0 {
			return 0, errMalformed
		}
		m = m[n:]
		skip := 0
		switch tag & 7 {
		case wireVarint:
			v, n := binary.Uvarint(m)
			if n <= 0 {
				return 0, errMalformed
			}
			if tag>>3 == 1 {
				status = v // of several the last counts
			}
			skip = n
		case wire64:
			skip = 8
		case wire32:
			skip = 4
		case wireBytes:
			l, n := binary.Uvarint(m)
			if n <= 0 || l > uint64(len(m)-n) {
				return 0, errMalformed
			}
			skip = n + int(l)
		default:
			return 0, errMalformed
		}
		if skip > len(m) {
			return 0, errMalformed
		}
		m = m[skip:]
	}
	return status, nil
}

// grpcCodes are the names of the codes that end a call.
var grpcCodes = []string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
	"DATA_LOSS", "UNAUTHENTICATED",
}

// foreign is the cause when what has come is HTTP and not gRPC: a status and a page.
func (a *grpcAnswer) foreign() error {
	switch content, _, _ := strings.Cut(a.content, ";"); {
	case a.code != "":
	case a.status == "":
		return &cause{text: "malformed gRPC answer"}
	case a.status != "200":
		return &cause{text: "not gRPC: HTTP status " + short(a.status, 10)}
	case content != "application/grpc" && !strings.HasPrefix(content, "application/grpc+"):
		return &cause{text: "not gRPC: content of type " + strconv.QuoteToASCII(short(a.content, 60))}
	}
	return nil
}

// verdict judges a complete answer.
func (a *grpcAnswer) verdict() error {
	if err := a.foreign(); err != nil {
		return err
	}
	if a.code == "" {
		return &cause{text: "malformed gRPC answer"}
	}
	if a.code != "0" {
		return &cause{text: grpcError(a.code, a.text)}
	}
	status, err := parseHealthResponse(a.message)
	switch {
	case err != nil:
		return &cause{text: "malformed gRPC answer", errs: []error{err}}
	case status == serving:
		return nil
	case status < uint64(len(servingStatuses)):
		return &cause{text: "grpc status " + servingStatuses[status]}
	}
	return &cause{text: fmt.Sprintf("grpc status %d", status)}
}

// grpcError is a call's end in words. The text is percent-encoded.
func grpcError(code, text string) string {
	const longest = 100
	name := short(code, 10)
	if n, err := strconv.ParseUint(code, 10, 8); err == nil && n < uint64(len(grpcCodes)) {
		name = grpcCodes[n]
	}
	if plain, err := url.PathUnescape(text); err == nil {
		text = plain
	}
	if text == "" {
		return "grpc error " + name
	}
	return "grpc error " + name + ": " + short(text, longest)
}
