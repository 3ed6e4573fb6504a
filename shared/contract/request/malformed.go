package request

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// signatures are the first bytes of encodings that clients send by mistake.
var signatures = []struct{ prefix, problem string }{
	{"\xef\xbb\xbf", "must not have a byte order mark, but has one at byte 1"},
	{"\xff\xfe", "must be encoded in UTF-8, but is UTF-16 from byte 1"},
	{"\xfe\xff", "must be encoded in UTF-8, but is UTF-16 from byte 1"},
	{"\x1f\x8b", "must not be compressed, but is gzip from byte 1"},
}

// malformed returns the rule that data breaks and the number of the byte that breaks it,
// counted from 1. It returns "" if data is a JSON object in UTF-8.
func malformed(data []byte) string {
	for _, signature := range signatures {
		if bytes.HasPrefix(data, []byte(signature.prefix)) {
			return signature.problem
		}
	}
	if at := invalidUTF8(data); at >= 0 {
		return fmt.Sprintf("must be encoded in UTF-8, but has another encoding at byte %d", at+1)
	}
	var value json.RawMessage
	if err := json.Unmarshal(data, &value); err != nil {
		at := int64(len(data))
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = syntax.Offset
		}
		return fmt.Sprintf("must be a JSON object: %s at byte %d", err, at)
	}
	if value := bytes.TrimLeft(data, " \t\r\n"); value[0] != '{' {
		return fmt.Sprintf("must be a JSON object, but another value begins at byte %d", len(data)-len(value)+1)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // not every number fits a float64
	if name, at, found := duplicateName(data, decoder); found {
		return fmt.Sprintf("must not have the name %.64q twice in one object, but repeats it at byte %d", name, at)
	}
	return ""
}

// duplicateName returns the first name that an object in the decoder's next value repeats,
// and the number of the byte where it does. The value must be well-formed.
func duplicateName(data []byte, decoder *json.Decoder) (name string, at int, found bool) {
	opening, err := decoder.Token()
	if err != nil || opening != json.Delim('{') && opening != json.Delim('[') {
		return "", 0, false
	}
	seen := map[string]bool{}
	for decoder.More() {
		if opening == json.Delim('{') {
			before := int(decoder.InputOffset())
			token, _ := decoder.Token()
			name, _ := token.(string)
			if seen[name] {
				return name, before + bytes.IndexByte(data[before:], '"') + 1, true
			}
			seen[name] = true
		}
		if name, at, found := duplicateName(data, decoder); found {
			return name, at, true
		}
	}
	_, _ = decoder.Token() // the end of the object or list
	return "", 0, false
}

// invalidUTF8 returns the index of the first byte that is not UTF-8, or -1.
func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}
