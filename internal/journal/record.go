package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind is what sort of event a record tells of: a fixed token.
type Kind string

// The kinds.
const (
	DaemonStart        Kind = "daemon-start"
	DaemonStop         Kind = "daemon-stop"
	ReloadOK           Kind = "reload-ok"
	ReloadFailed       Kind = "reload-failed"
	VRRPTransition     Kind = "vrrp-transition"
	Switchover         Kind = "switchover"
	TrackChanged       Kind = "track-changed"
	VRRPProcess        Kind = "vrrp-process"
	TakeoverConfirmed  Kind = "takeover-confirmed"
	WitnessOwnerOK     Kind = "witness-owner-ok"
	WitnessNoOwner     Kind = "witness-no-owner"
	WitnessTwoOwners   Kind = "witness-two-owners"
	WitnessWrongOwner  Kind = "witness-wrong-owner"
	WitnessStranger    Kind = "witness-stranger"
	WitnessUnknown     Kind = "witness-unknown"
	AdvertsBlocked     Kind = "adverts-blocked"
	AdvertsArrive      Kind = "adverts-arrive"
	SplitBrain         Kind = "split-brain"
	SplitHealed        Kind = "split-healed"
	EqualPriorities    Kind = "equal-priorities"
	PrioritiesDiffer   Kind = "priorities-differ"
	RealServerLeft     Kind = "real-server-left"
	RealServerReturned Kind = "real-server-returned"
	RealServerQuiesced Kind = "real-server-quiesced"
	RealServerResumed  Kind = "real-server-resumed"
	RealServerDraining Kind = "real-server-draining"
	RealServerDrained  Kind = "real-server-drained"
	RealServerWarning  Kind = "real-server-warning"
	OverrideSet        Kind = "override-set"
	OverrideEnded      Kind = "override-ended"
	QuorumLost         Kind = "quorum-lost"
	QuorumGained       Kind = "quorum-gained"
	HookFailed         Kind = "hook-failed"
	PanicBegan         Kind = "panic-began"
	PanicEnded         Kind = "panic-ended"
	SightLost          Kind = "sight-lost"
	SightBack          Kind = "sight-back"
	ViewsDiffer        Kind = "views-differ"
	ViewsAgree         Kind = "views-agree"
	IPVSFailure        Kind = "ipvs-failure"
	IPVSRecovered      Kind = "ipvs-recovered"
	IPVSRepair         Kind = "ipvs-repair"
	SyncFailure        Kind = "sync-failure"
	SyncRecovered      Kind = "sync-recovered"
	PeerInSync         Kind = "peer-in-sync"
	PeerOutOfSync      Kind = "peer-out-of-sync"
	SyncWaitEnded      Kind = "sync-wait-ended"
	ParameterRefused   Kind = "parameter-refused"
	ParameterRepair    Kind = "parameter-repair"
	PeerJoined         Kind = "peer-joined"
	PeerLeft           Kind = "peer-left"
	PeerLost           Kind = "peer-lost"
	PeerConfigDiffers  Kind = "peer-config-differs"
	PeerConfigAgrees   Kind = "peer-config-agrees"
	// Gap stands for records that were lost before they reached the disk. Its
	// number is that of the last of them.
	Gap Kind = "journal-gap"
)

// Record is one event.
type Record struct {
	// Seq numbers the records without holes, also over restarts; from 1. Append
	// sets it.
	Seq uint64 `json:"seq"`
	// At is when it happened, to the microsecond, in UTC. Append sets it if it is zero.
	At   time.Time `json:"at"`
	Kind Kind      `json:"kind"`
	// Object is what it happened to, in the words of the configuration: "web" for a
	// virtual router, "web/web-1" for a real server, a director's name for a peer.
	Object string `json:"object,omitempty"`
	From   string `json:"from,omitempty"` // state before
	To     string `json:"to,omitempty"`   // and after
	// Reason is the cause: a fixed token where there is one, "master-down", else an
	// error's text.
	Reason string `json:"reason,omitempty"`
	// Text is the whole event as a sentence, for events that the other fields do
	// not tell well.
	Text  string            `json:"text,omitempty"`
	Attrs map[string]string `json:"attrs,omitempty"` // everything else: address, peer, priority

	// Director is the other director that it happened on and that has told of it; empty: it
	// happened here. At is when it was told then, and DirectorAt when it happened, by that
	// director's clock. DirectorRun and DirectorSeq are that director's name for it: the run
	// of its daemon, and the number among the events that this run has told.
	Director    string    `json:"director,omitempty"`
	DirectorAt  time.Time `json:"director_at,omitzero"`
	DirectorRun uint64    `json:"director_run,omitempty"`
	DirectorSeq uint64    `json:"director_seq,omitempty"`
}

// The limits of one record, so that no error text makes the journal forget the rest.
const (
	maxText  = 4 << 10 // bytes per field
	maxAttrs = 32
	maxLine  = 2 << 20 // bytes; the largest record has 1.7 MiB when JSON escapes every byte of it
)

// clean returns the record as it is kept: in bounds, valid UTF-8, with a time in UTC
// that survives the way to disk and back, and sharing nothing with the caller.
func (r Record) clean(now time.Time) Record {
	if r.At.IsZero() {
		r.At = now
	}
	r.At = r.At.Round(0).UTC().Truncate(time.Microsecond)
	if checkTime(r.At) != nil {
		r.At = now.Round(0).UTC().Truncate(time.Microsecond)
	}
	r.Kind = Kind(clip(string(r.Kind)))
	if r.Kind == "" {
		r.Kind = "unknown"
	}
	if r.DirectorAt = r.DirectorAt.Round(0).UTC().Truncate(time.Microsecond); checkTime(r.DirectorAt) != nil {
		r.DirectorAt = time.Time{}
	}
	for _, s := range []*string{&r.Object, &r.From, &r.To, &r.Reason, &r.Text, &r.Director} {
		*s = clip(*s)
	}
	if r.Attrs == nil {
		return r
	}
	attrs := make(map[string]string, len(r.Attrs))
	for k, v := range r.Attrs {
		if len(attrs) == maxAttrs {
			break
		}
		attrs[clip(k)] = clip(v)
	}
	r.Attrs = attrs
	return r
}

func clip(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// AppendTo appends the record as one line of JSON, with its newline.
func (r Record) AppendTo(b []byte) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // people read this with less
	if err := enc.Encode(r); err != nil {
		// Strings, a number and a time that clean or ParseRecord has checked.
		panic("journal: encode record: " + err.Error())
	}
	return append(b, buf.Bytes()...)
}

// ParseRecord decodes one line. Fields that it does not know are ignored: they come from
// a later version of the program.
func ParseRecord(line []byte) (Record, error) {
	if len(line) > maxLine {
		return Record{}, fmt.Errorf("record of %d bytes, want at most %d", len(line), maxLine)
	}
	var r Record
	if err := json.Unmarshal(line, &r); err != nil {
		return Record{}, fmt.Errorf("record: %w", err)
	}
	switch {
	case r.Seq == 0:
		return Record{}, errors.New("record without number")
	case r.Kind == "":
		return Record{}, errors.New("record without kind")
	}
	if len(r.Attrs) == 0 {
		r.Attrs = nil
	}
	r.At = r.At.UTC()
	if err := checkTime(r.At); err != nil {
		return Record{}, err
	}
	if r.DirectorAt = r.DirectorAt.UTC(); !r.DirectorAt.IsZero() {
		if err := checkTime(r.DirectorAt); err != nil {
			return Record{}, err
		}
	}
	return r, nil
}

// checkTime accepts the times that JSON can write, less those before 1970, which no
// event has.
func checkTime(at time.Time) error {
	if at.Unix() < 0 || at.Year() > 9999 {
		return fmt.Errorf("record with the time %v", at)
	}
	return nil
}
