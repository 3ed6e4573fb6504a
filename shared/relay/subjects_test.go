package relay

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"
)

func TestTransformed_ReturnsTheSubjectThatAStreamStores(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ source, destination, subject, want string }{
		{"in.>", "out.>", "in.a.b", "out.a.b"},
		{"in.>", "out.>", "in.*.b", "out.*.b"},
		{"in.>", "out.>", "in.>", "out.>"},
		{"in.>", "out.>", "other.a", "other.a"},
		{"", "all.>", "a.b", "all.a.b"},
		{"in.*.*", "out.{{wildcard(2)}}.$1", "in.a.b", "out.b.a"},
		{"in.*.*", "out.{{ Wildcard( 2 ) }}.$1", "in.*.b", "out.b.*"},
		{"in.*", "out", "in.*", "out"},
		{"in.a", "out.a", "in.a", "out.a"},
		// The trigger's messages cannot be selected.
		{"in.*", "out", "in.a", "error: stores several subjects under one"},
		{"in.*", "out.{{partition(3,1)}}", "in.a", "error: does not name a single subject"},
		{"in.*.>", "out.>", "in.a.b", "error: stores several subjects under one"},
		{"in.>", "out", "in.a", "error: stores several subjects under one"},
		{"in.a", "out.a", "in.*", "error: only a part of the subject"},
		{"in.*", "out.$2", "in.a", "error: refers to no wildcard"},
	} {
		got, err := transformed(&jetstream.SubjectTransformConfig{Source: test.source, Destination: test.destination}, test.subject)
		if err != nil {
			got = "error: " + err.Error()
		}
		if problem, ok := strings.CutPrefix(test.want, "error: "); got != test.want && (!ok || err == nil || !strings.Contains(got, problem)) {
			t.Errorf("%s to %s: %s: got %q, want %q", test.source, test.destination, test.subject, got, test.want)
		}
	}
	if got, err := transformed(nil, "a"); got != "a" || err != nil {
		t.Errorf("no transform: got %q, %v", got, err)
	}
}

// The test compares with the transform of the server.
func TestTransformed_AgreesWithTheServer(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var source, subject []string
		wildcards := 0
		for range rapid.IntRange(1, 4).Draw(t, "tokens") {
			token := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "token")
			subject = append(subject, token)
			if rapid.Bool().Draw(t, "wildcard") {
				wildcards++
				token = "*"
			}
			source = append(source, token)
		}
		destination := append([]string{"out"}, rapid.Permutation([]string{"$1", "$2", "$3", "$4"}[:wildcards]).Draw(t, "order")...)
		if rapid.Bool().Draw(t, "rest") {
			source, destination, subject = append(source, ">"), append(destination, ">"), append(subject, "c", "d")
		}
		config := jetstream.SubjectTransformConfig{Source: strings.Join(source, "."), Destination: strings.Join(destination, ".")}
		transform, err := server.NewSubjectTransform(config.Source, config.Destination)
		if err != nil {
			t.Fatal(err)
		}
		want, err := transform.Match(strings.Join(subject, "."))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := transformed(&config, strings.Join(subject, ".")); got != want || err != nil {
			t.Fatalf("%+v of %v: got %q, %v, want %q", config, subject, got, err, want)
		}
	})
}

func TestOverlaps_ReportsSubjectsInCommon(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		one, other string
		want       bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a.*", "*.b", true}, {"a.*", "*", false}, {"a.>", "*.b.c", true}, {"a.>", "a", false},
		{">", "a", true}, {"a.b", "a.>", true}, {"b.>", "a.>", false}, {"a.*.c", "a.b.>", true},
	} {
		if overlaps(test.one, test.other) != test.want || overlaps(test.other, test.one) != test.want {
			t.Errorf("%s and %s: want %t", test.one, test.other, test.want)
		}
	}
}

func TestBrings_ReportsTheSubjectsOfAMirrorOrSource(t *testing.T) {
	t.Parallel()
	transforms := func(destination string) []jetstream.SubjectTransformConfig {
		return []jetstream.SubjectTransformConfig{{Source: "b.*", Destination: destination}}
	}
	for name, test := range map[string]struct {
		from      jetstream.StreamSource
		all, told bool
	}{
		"all of the other stream":     {jetstream.StreamSource{}, false, false},
		"a filter":                    {jetstream.StreamSource{FilterSubject: "a.>"}, true, true},
		"a narrower filter":           {jetstream.StreamSource{FilterSubject: "a.b"}, false, true},
		"a transform":                 {jetstream.StreamSource{SubjectTransforms: transforms("a.{{wildcard(1)}}")}, true, true},
		"a transform to another":      {jetstream.StreamSource{SubjectTransforms: transforms("c.$1")}, false, true},
		"a filter among several":      {jetstream.StreamSource{SubjectTransforms: []jetstream.SubjectTransformConfig{{Source: "a.*"}, {Source: "c"}}}, true, true},
		"a transform that partitions": {jetstream.StreamSource{SubjectTransforms: transforms("a.{{partition(3,1)}}")}, true, true},
	} {
		if all, told := brings(&test.from, "a.*"); all != test.all || told != test.told {
			t.Errorf("%s: got %t, %t", name, all, told)
		}
	}
}
