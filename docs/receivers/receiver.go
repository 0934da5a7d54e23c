// A receiver for Posthorn: Go 1.21 or newer, the standard library only.
package main

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Event has the attributes and the data of a CloudEvent.
type Event map[string]any

// Line is one line of the journal.
type Line struct {
	Lane  string `json:"lane"`
	Event Event  `json:"event"`
}

// Receiver keeps what was taken, one event a line: the work and the highest sequence are stored by one write. A database
// does the same by one transaction.
type Receiver struct {
	keys    [][]byte
	mutex   sync.Mutex
	journal *os.File
	end     int64
	highest map[string]string
}

var errRefused = errors.New("no use for events of this type")

const largest = 16 << 20

func (event Event) text(name string) string {
	text, _ := event[name].(string)
	return text
}

// isSigned tells whether one of the signatures was made with one of our keys, in the last five minutes.
func (receiver *Receiver) isSigned(header http.Header, body []byte) bool {
	id, timestamp := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return false
	}
	for _, key := range receiver.keys {
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%s.%s", id, timestamp, body)
		made := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
		for _, given := range strings.Fields(header.Get("webhook-signature")) {
			if hmac.Equal([]byte(made), []byte(given)) {
				return true
			}
		}
	}
	return false
}

// events are those of a request.
func events(header http.Header, body []byte) (events []Event, err error) {
	mediaType, _, _ := mime.ParseMediaType(header.Get("content-type"))
	switch mediaType {
	case "application/cloudevents-batch+json":
		return events, json.Unmarshal(body, &events)
	case "application/cloudevents+json":
		events = []Event{{}}
		return events, json.Unmarshal(body, &events[0])
	}
	event := Event{}
	for name, values := range header {
		if attribute, found := strings.CutPrefix(strings.ToLower(name), "ce-"); found {
			if event[attribute], err = url.PathUnescape(values[0]); err != nil {
				return nil, err
			}
		}
	}
	if mediaType == "application/json" {
		event["data"] = json.RawMessage(body)
	} else {
		event["data_base64"] = body
	}
	return []Event{event}, nil
}

// accept takes what was not taken before, all of it or nothing.
func (receiver *Receiver) accept(lane string, given []Event) error {
	receiver.mutex.Lock()
	defer receiver.mutex.Unlock()
	var lines, report []byte
	highest := receiver.highest[lane]
	for _, event := range given {
		word := "repeat"
		if sequence := event.text("sequence"); sequence > highest {
			if !strings.HasPrefix(event.text("type"), "com.example.") {
				return errRefused
			}
			line, err := json.Marshal(Line{lane, event})
			if err != nil {
				return err
			}
			word, highest, lines = "accepted", sequence, append(append(lines, line...), '\n')
		}
		report = fmt.Appendln(report, word, lane, event.text("sequence"), event.text("id"))
	}
	// removes what an earlier write left that did not end
	if err := receiver.journal.Truncate(receiver.end); err != nil {
		return err
	}
	if _, err := receiver.journal.WriteAt(lines, receiver.end); err != nil {
		return err
	}
	if err := receiver.journal.Sync(); err != nil {
		return err
	}
	receiver.end += int64(len(lines))
	receiver.highest[lane] = highest
	os.Stdout.Write(report)
	return nil
}

func (receiver *Receiver) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(response, request.Body, largest))
	if err != nil {
		response.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	if !receiver.isSigned(request.Header, body) {
		response.WriteHeader(http.StatusUnauthorized) // halts the destination; its backlog is kept
		return
	}
	given, err := events(request.Header, body)
	if err == nil {
		err = receiver.accept(request.URL.Path, given) // each destination has a path of its own; with PerKey, add the key to the lane
	}
	switch {
	case err == nil:
		response.WriteHeader(http.StatusNoContent) // delivered: it is stored here
	case errors.Is(err, errRefused):
		fmt.Println("refused", request.URL.Path, err)
		response.Header().Set("posthorn-directive", "bury")
		response.WriteHeader(http.StatusUnprocessableEntity) // given up at once
	default:
		fmt.Println("failed", request.URL.Path, err)
		response.WriteHeader(http.StatusInternalServerError) // tried again, with growing waits
	}
}

// open reads the journal. What follows its last line break was cut off.
func open(path string, secrets []string) (*Receiver, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if len(secrets) == 0 {
		return nil, errors.New("no key to verify signatures: set WEBHOOK_SECRETS")
	}
	receiver := &Receiver{journal: file, highest: map[string]string{}}
	for _, secret := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil {
			return nil, err
		}
		receiver.keys = append(receiver.keys, key)
	}
	for lines := bufio.NewReader(file); ; {
		text, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return receiver, file.Truncate(receiver.end)
		}
		var line Line
		if err == nil {
			err = json.Unmarshal(text, &line)
		}
		if err != nil {
			return nil, err
		}
		receiver.highest[line.Lane] = line.Event.text("sequence")
		receiver.end += int64(len(text))
	}
}

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func main() {
	receiver, err := open(environment("JOURNAL", "receiver.jsonl"), strings.Fields(os.Getenv("WEBHOOK_SECRETS")))
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+environment("PORT", "8000"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, receiver))
}
