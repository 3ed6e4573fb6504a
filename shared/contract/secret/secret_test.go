package secret

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// holder has a secret where printers and encoders find one in practice.
type holder struct {
	Field   Text
	Pointer *Text
	Map     map[string]Text
	List    []Text
}

func TestText_NeverPrints(t *testing.T) {
	t.Parallel()
	hush := Text(uuid.NewString())
	held := holder{hush, &hush, map[string]Text{"k": hush}, []Text{hush}}

	written := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X"} {
		written["fmt "+verb] = fmt.Sprintf(verb, hush)
		written["fmt "+verb+" of a struct"] = fmt.Sprintf(verb, held)
	}
	written["an error"] = fmt.Errorf("opening %s: %w", hush, errors.New("refused")).Error()
	for name, marshal := range map[string]func(any) ([]byte, error){"JSON": json.Marshal, "XML": xml.Marshal} {
		for what, value := range map[string]any{"": hush, " of a list": []Text{hush}} {
			text, err := marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			written[name+what] = string(text)
		}
	}
	text, err := json.Marshal(held)
	if err != nil {
		t.Fatal(err)
	}
	written["JSON of a struct"] = string(text)
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"JSON log": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		"text log": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
	} {
		var log bytes.Buffer
		slog.New(handler(&log)).Info("opened", "secret", hush, "pointer", &hush, "group", slog.GroupValue(slog.Any("secret", hush)), "struct", held)
		written[name] = log.String()
	}
	hex := fmt.Sprintf("%x", string(hush))
	for where, text := range written {
		if lower := strings.ToLower(text); strings.Contains(lower, string(hush)) || strings.Contains(lower, hex) {
			t.Errorf("%s tells the secret: %s", where, text)
		}
	}
}

func TestText_LogsAsRedacted(t *testing.T) {
	t.Parallel()
	if got := Text(uuid.NewString()).LogValue(); got.Kind() != slog.KindString || got.String() != redacted {
		t.Errorf("got %v", got)
	}
}

func TestText_ConvertsToTheSecret(t *testing.T) {
	t.Parallel()
	hush := uuid.NewString()
	if string(Text(hush)) != hush {
		t.Error("the conversion to a string does not give the secret")
	}
}
