package clusterkey

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// ordered is the key of the bytes 0, 1, … 31.
const ordered = "hadirector-key-v1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"

func mustParse(t *testing.T, text string) Key {
	t.Helper()
	ks, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return ks[0]
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       string // the error; empty: ordered
	}{
		{"one line", ordered, ""},
		{"without newline", strings.TrimSuffix(ordered, "\n"), ""},
		{"comment, empty line, spaces, CRLF", "# made on lb-a\n\n  " + strings.TrimSuffix(ordered, "\n") + "\r\n", ""},
		{"empty", "", "holds no key"},
		{"only a comment", "# nothing\n", "holds no key"},
		{"the same key twice", ordered + "\n" + ordered, "line 3: the same key twice"},
		{"three keys", ordered + Generate().Text() + Generate().Text(), "line 3: a third key, want at most two"},
		{"another version", "hadirector-key-v2:AAEC\n", `line 1: does not begin with "hadirector-key-v1:"`},
		{"a pass phrase", "swordfish\n", `line 1: does not begin with "hadirector-key-v1:"`},
		{"not base64", "hadirector-key-v1:%%%\n", `line 1: the part after "hadirector-key-v1:" is not base64`},
		{"31 bytes", "hadirector-key-v1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==\n", "line 1: the key has 31 bytes, want 32"},
		{"no bytes", "hadirector-key-v1:\n", "line 1: the key has 0 bytes, want 32"},
		{"bits left over", "hadirector-key-v1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=\n", `line 1: the part after "hadirector-key-v1:" is not base64`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ks, err := Parse([]byte(tt.text))
			if tt.want != "" {
				if err == nil || err.Error() != tt.want {
					t.Fatalf("error %v, want %s", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(ks) != 1 || ks[0].Text() != ordered {
				t.Errorf("text %q, want %q", ks.Text(), ordered)
			}
		})
	}
}

// The expected bytes come from an HKDF of another make:
//
//	openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt hexkey:000102…1f -kdfopt info:test HKDF
func TestDerive(t *testing.T) {
	k := mustParse(t, ordered)
	got := k.Derive("test")
	const want = "ee2d74b5581380b94518efd1a6da0de5655d58b2f082dccc9f645e52e0ebfbdb"
	if hex.EncodeToString(got[:]) != want {
		t.Errorf("derived %x, want %s", got, want)
	}
	if other := k.Derive("test2"); other == got {
		t.Error("two purposes give the same key")
	}
	if other := Generate().Derive("test"); other == got {
		t.Error("two secrets give the same key")
	}
	if k.ID() != "83ee45bf" {
		t.Errorf("id %s", k.ID())
	}
}

func TestGenerate(t *testing.T) {
	a, b := Generate(), Generate()
	if a.Equal(b) {
		t.Error("two new keys are equal")
	}
	if !a.Equal(mustParse(t, a.Text())) {
		t.Error("a key is not what its text says")
	}
	if a.Equal(Key{}) || !(Key{}).Equal(Key{}) {
		t.Error("the zero key equals a key, or not itself")
	}
}

func TestKeyIsNeverPrinted(t *testing.T) {
	k := mustParse(t, ordered)
	holder := struct {
		hidden Key
		Shown  Key
	}{k, k}
	var out bytes.Buffer
	for _, v := range []any{k, &k, holder, &holder, []Key{k}, map[string]Key{"k": k}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%08b", "%o", "%c", "%U"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
	}
	text := slog.New(slog.NewTextHandler(&out, nil))
	text.Info("key", "key", k, "pointer", &k, "holder", holder)
	object := slog.New(slog.NewJSONHandler(&out, nil))
	object.Info("key", "key", k, "pointer", &k, "holder", holder)
	if err := json.NewEncoder(&out).Encode(holder); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{
		"AAECAwQF",                                                                      // base64
		"000102", "0x1, 0x2, 0x3", "01 02 03", "1 2 3 4 5", "0 1 2 3 4", "[1 10 11 100", // numbers in some base
		"\x01\x02\x03", `\x01\x02`, "U+0001",
	} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("the output tells the secret as %q", secret)
		}
	}
	if !strings.Contains(out.String(), redacted) {
		t.Error("the output does not say that something was left out")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(ordered))
	f.Add([]byte("# comment\n\n" + ordered))
	f.Add([]byte(ordered + ordered))
	f.Add([]byte(ordered + "hadirector-key-v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"))
	f.Add([]byte("hadirector-key-v1:"))
	f.Add([]byte("hadirector-key-v1:0000000000000000\r000000000000000000000000000=")) // a break that base64 skips
	f.Fuzz(func(t *testing.T, text []byte) {
		ks, err := Parse(text)
		if err != nil {
			return
		}
		if len(ks) == 0 || len(ks) > maxKeys {
			t.Fatalf("%q: %d keys", text, len(ks))
		}
		again, err := Parse([]byte(ks.Text()))
		if err != nil || !slices.EqualFunc(ks, again, Key.Equal) {
			t.Fatalf("%q: the keys' own text gives %v", text, err)
		}
		for _, k := range ks {
			if !bytes.Contains(text, []byte(strings.TrimSpace(k.Text()))) {
				t.Fatalf("%q: two texts of the same key", text)
			}
		}
	})
}
