package run

import (
	"strings"
	"unicode/utf8"
)

// Text returns the bytes as valid UTF-8. Invalid bytes become U+FFFD.
func Text(data []byte) string { return strings.ToValidUTF8(string(data), "\uFFFD") }

// Cut returns at most that many bytes of a text, and no half of a character.
func Cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}
