package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coder/websocket"
	"github.com/spf13/cobra"
)

func (c *cli) listenCommand() *cobra.Command {
	l := &listener{cli: c}
	var thin, printSecret bool
	cmd := &cobra.Command{
		Use:   "listen",
		Short: "Receive events here, and forward them to a program on this machine",
		Long: `Receive an account's events here, as they happen, and forward them to a program
on this machine, signed like those of a webhook. Each is a line: when, type, id,
the program's answer, how long it took. Nothing is retried.

The signing secret is the same each time for an account, a mode and a machine.`,
		Example: `  waybill listen --forward-to localhost:3000/webhook
  waybill listen --forward-to localhost:3000/webhook --events customer.created,invoice.paid
  export WEBHOOK_SECRET=$(waybill listen --print-secret)`,
		Args: args(),
	}
	f := cmd.Flags()
	f.StringVar(&l.forward, "forward-to", "", "URL to POST events to; without it they are only shown")
	f.StringVar(&l.forwardConnect, "forward-connect-to", "", "URL for the events of connected accounts (default that of --forward-to)")
	f.StringSliceVar(&l.types, "events", nil, "only events of these types (default all)")
	f.BoolVar(&thin, "thin", false, "receive thin events instead of snapshots")
	f.BoolVar(&printSecret, "print-secret", false, "print the signing secret, and nothing else")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, u := range []*string{&l.forward, &l.forwardConnect} {
			var err error
			if *u, err = forwardURL(*u); err != nil {
				return err
			}
		}
		if l.forwardConnect == "" {
			l.forwardConnect = l.forward
		}
		var err error
		if l.client, err = c.client(); err != nil {
			return err
		}
		l.feature = featureOf(thin)
		if printSecret {
			s, err := l.prepare(cmd.Context())
			if err == nil {
				_, err = fmt.Fprintln(c.stdout, s.Secret)
			}
			return err
		}
		return l.run(cmd.Context())
	}
	return cmd
}

// forwardURL completes an address as people write it.
func forwardURL(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	full := text
	switch {
	case strings.Contains(text, "://"):
	case strings.Trim(text, "0123456789") == "":
		full = "http://localhost:" + text
	case strings.HasPrefix(text, ":"):
		full = "http://localhost" + text
	default:
		full = "http://" + text
	}
	u, err := url.Parse(full)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", usagef("%q is no address to forward to: write it like http://localhost:3000/webhook", text)
	}
	return full, nil
}

// The protocol of `stripe listen`.
const (
	listenProtocol  = "stripecli-devproxy-v1"
	featureSnapshot = "webhooks"
	featureThin     = "v2_events"
	// endOfSession tells the server that the session is not wanted any more.
	endOfSession = "end of session"
)

func featureOf(thin bool) string {
	if thin {
		return featureThin
	}
	return featureSnapshot
}

const (
	// forwardTimeout is how long the program may take, and maxForwards how
	// many events it gets at a time. Others wait at the server.
	forwardTimeout = 30 * time.Second
	maxForwards    = 32
	// A connection that brings no sign of life for that long is dialled anew.
	listenPing    = 10 * time.Second
	listenTimeout = 10 * time.Second
	// redialFirst and redialMost are the waits between dials that fail.
	redialFirst = 500 * time.Millisecond
	redialMost  = 10 * time.Second
	// maxListenFrame is more than the largest event, as text in a frame.
	maxListenFrame = 16 << 20
	maxAnswerKept  = 5000 // bytes of the program's answer that the server is told
)

// listener is a session of `waybill listen`.
type listener struct {
	*cli
	client                  *client
	feature                 string
	forward, forwardConnect string
	types                   []string
	// ready is called when events begin to come, and shown tells what was
	// printed already; both may be nil.
	ready func(context.Context) error
	shown map[string]bool

	life     context.Context // ends with the interrupt
	out      sync.Mutex
	forwards sync.WaitGroup
	slots    chan struct{}
	http     *http.Client
}

// listenSession is what the server answers to a request for a session.
type listenSession struct {
	URL     string `json:"websocket_url"`
	ID      string `json:"websocket_id"`
	Feature string `json:"websocket_authorized_feature"`
	Secret  string `json:"secret"`
}

func (l *listener) prepare(ctx context.Context) (*listenSession, error) {
	device, err := os.Hostname()
	if err != nil {
		device = "waybill"
	}
	raw, err := l.client.postForm(ctx, "/v1/stripecli/sessions", url.Values{
		"device_name": {device}, "websocket_features[]": {l.feature}, "forward_to_url": {l.forward}, "forward_connect_to_url": {l.forwardConnect},
	})
	if err != nil {
		return nil, err
	}
	s := &listenSession{}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return s, nil
}

// run receives until it is interrupted.
func (l *listener) run(ctx context.Context) error {
	ctx, release := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer release()
	l.life, l.slots = ctx, make(chan struct{}, maxForwards)
	l.http = &http.Client{
		Timeout: forwardTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: maxForwards},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer l.http.CloseIdleConnections()
	defer l.forwards.Wait()
	s, err := l.prepare(ctx)
	if err != nil {
		return err
	}
	said := false
	for wait := redialFirst; ; {
		began := l.now()
		err := l.receive(ctx, s, func() error {
			if said {
				l.note("Connected again.")
				return nil
			}
			said = true
			l.note("Listening. The signing secret is %s (Ctrl-C ends)", s.Secret)
			if l.ready != nil {
				return l.ready(ctx)
			}
			return nil
		})
		var api *apiError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errUnknownSession):
			if s, err = l.prepare(ctx); err == nil {
				continue
			}
			if errors.As(err, &api) && api.status < http.StatusInternalServerError {
				return err
			}
		case errors.As(err, &api):
			return err
		}
		if l.now().Sub(began) > redialMost {
			wait = redialFirst
		}
		l.note("Not connected: %s. Trying again.", printable(err.Error()))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, redialMost)
	}
}

// note tells the person at the terminal something that is no event.
func (l *listener) note(format string, args ...any) {
	l.out.Lock()
	defer l.out.Unlock()
	fmt.Fprintf(l.stderr, format+"\n", args...)
}

var (
	errUnknownSession = errors.New("the server does not know the session")
	errBroken         = errors.New("the connection broke")
)

// receive takes what comes over one connection, until it breaks.
func (l *listener) receive(ctx context.Context, s *listenSession, connected func() error) error {
	dial, cancel := context.WithTimeout(ctx, listenTimeout)
	defer cancel()
	conn, answer, err := websocket.Dial(dial, s.URL+"?websocket_feature="+url.QueryEscape(s.Feature), &websocket.DialOptions{ //nolint:bodyclose // Dial says that it need not be closed
		HTTPClient: l.client.http, HTTPHeader: http.Header{"Websocket-Id": {s.ID}}, Subprotocols: []string{listenProtocol},
	})
	if answer != nil && answer.StatusCode == http.StatusNotFound {
		return errUnknownSession
	}
	if err != nil {
		return l.client.unreachable(err)
	}
	defer conn.CloseNow() //nolint:errcheck // it is broken, or was closed
	conn.SetReadLimit(maxListenFrame)
	if err := connected(); err != nil {
		return err
	}
	// Reading goes on while the end of the session is told, so it does not end
	// with ctx.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	stop := context.AfterFunc(ctx, func() {
		_ = conn.Close(websocket.StatusNormalClosure, endOfSession) // or the session ends by itself
		end()
	})
	defer stop()
	go func() {
		defer end()
		l.ping(life, conn)
	}()
	for {
		_, raw, err := conn.Read(life)
		if err != nil {
			return errBroken
		}
		var f listenFrame
		if err := json.Unmarshal(raw, &f); err != nil {
			return fmt.Errorf("read frame: %w", err)
		}
		if err := l.take(life, conn, &f); err != nil {
			return err
		}
	}
}

func (l *listener) ping(ctx context.Context, conn *websocket.Conn) {
	t := time.NewTicker(listenPing)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		ping, cancel := context.WithTimeout(ctx, listenTimeout)
		err := conn.Ping(ping)
		cancel()
		if err != nil {
			return
		}
	}
}

// listenFrame is what the server sends.
type listenFrame struct {
	Type           string            `json:"type"`
	WebhookID      string            `json:"webhook_id"`
	ConversationID string            `json:"webhook_conversation_id"`
	EventPayload   string            `json:"event_payload"`
	DestinationID  string            `json:"destination_id"`
	Payload        string            `json:"payload"`
	Header         map[string]string `json:"http_headers"`
	Endpoint       struct {
		APIVersion *string `json:"api_version"`
	} `json:"endpoint"`
}

// heard is an event, and what became of it.
type heard struct {
	ID      string  `json:"id"`
	Type    string  `json:"type"`
	Account string  `json:"account"` // of a connected account's snapshot
	Context *string `json:"context"` // of a connected account's thin event
	Created when    `json:"created"`
	body    string
}

// take acknowledges a frame, once there is room for it, and forwards what it
// holds.
func (l *listener) take(ctx context.Context, conn *websocket.Conn, f *listenFrame) error {
	e, wanted := heard{body: f.EventPayload}, f.Endpoint.APIVersion == nil
	switch f.Type {
	case "webhook_event":
	case "v2_event":
		f.WebhookID, e.body = f.DestinationID, f.Payload
	default:
		return nil
	}
	if err := json.Unmarshal([]byte(e.body), &e); err != nil {
		return fmt.Errorf("read event: %w", err)
	}
	wanted = wanted && (len(l.types) == 0 || slices.Contains(l.types, e.Type)) && !l.shown[e.ID]
	if wanted {
		select {
		case l.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := tell(ctx, conn, map[string]any{
		"type": "event_ack", "event_id": e.ID, "webhook_id": f.WebhookID, "webhook_conversation_id": f.ConversationID,
	})
	if !wanted {
		return err
	}
	if err != nil {
		<-l.slots // it comes again
		return err
	}
	l.forwards.Go(func() {
		defer func() { <-l.slots }()
		// What was acknowledged is forwarded, whatever becomes of the socket.
		l.handle(l.life, &e, f.Header, func(response map[string]any) { //nolint:contextcheck // see above
			response["type"], response["notification_id"] = "webhook_response", e.ID
			response["webhook_id"], response["webhook_conversation_id"] = f.WebhookID, f.ConversationID
			_ = tell(ctx, conn, response) // for the server's log
		})
	})
	return nil
}

func tell(ctx context.Context, conn *websocket.Conn, frame map[string]any) error {
	raw, err := json.Marshal(frame)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, listenTimeout)
	defer cancel()
	return conn.Write(ctx, websocket.MessageText, raw)
}

// handle forwards an event and shows what came of it.
func (l *listener) handle(ctx context.Context, e *heard, header map[string]string, respond func(map[string]any)) {
	to := l.forward
	if e.Account != "" || e.Context != nil {
		to = l.forwardConnect
	}
	if to == "" {
		l.show(e, result{at: l.now()})
		return
	}
	began := l.now()
	status, answer, err := l.post(ctx, to, e.body, header)
	if ctx.Err() != nil {
		return // interrupted
	}
	r := result{at: began, forwarded: true, status: status, took: l.now().Sub(began), err: err}
	l.show(e, r)
	if err == nil {
		respond(map[string]any{"forward_url": to, "status": status, "body": answer})
	}
}

func (l *listener) post(ctx context.Context, to, body string, header map[string]string) (status int, answer string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	got, err := l.http.Do(r)
	if err != nil {
		var u *url.Error // repeats the URL
		if errors.As(err, &u) {
			err = u.Err
		}
		return 0, "", err
	}
	defer got.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(got.Body, maxAnswerKept))
	if err != nil {
		return 0, "", err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(got.Body, maxAnswer))
	return got.StatusCode, string(raw), err
}

// result is what came of forwarding an event.
type result struct {
	at        time.Time
	forwarded bool
	status    int
	took      time.Duration
	err       error
}

// show prints an event's line.
func (l *listener) show(e *heard, r result) {
	line := l.line(e, r)
	l.out.Lock()
	defer l.out.Unlock()
	fmt.Fprintln(l.stdout, line)
}

func (l *listener) line(e *heard, r result) string {
	if l.json {
		raw, err := json.Marshal(struct {
			Time    time.Time `json:"time"`
			Type    string    `json:"type"`
			ID      string    `json:"id"`
			Account string    `json:"account,omitempty"`
			Status  int       `json:"status,omitempty"`
			Took    int64     `json:"ms,omitempty"`
			Error   string    `json:"error,omitempty"`
		}{r.at, e.Type, e.ID, e.Account, r.status, r.took.Milliseconds(), errorText(r.err)})
		if err == nil { // strings and numbers always encode
			return string(raw)
		}
	}
	line := fmt.Sprintf("%s  %-32s  %s", r.at.Local().Format(time.DateTime), printable(e.Type), printable(e.ID))
	switch {
	case r.err != nil:
		return line + "  " + l.paint("failed") + "  " + printable(r.err.Error())
	case !r.forwarded:
		return line
	}
	code := colours["ok"]
	if r.status > 299 {
		code = colours["error"]
	}
	return fmt.Sprintf("%s  %s  %dms", line, l.colour(code, strconv.Itoa(r.status)), r.took.Milliseconds())
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
