package stripeapi

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/fault"
	"github.com/waybill-dev/waybill/internal/listen"
)

// Sessions are the verbs of listen.Service.
type Sessions interface {
	Prepare(ctx context.Context, c account.Caller, r listen.Request) (*listen.Prepared, error)
	Connect(ctx context.Context, ticket string) (*listen.Socket, error)
}

// The protocol of `stripe listen`, as Stripe CLI 1.52.0 speaks it.
const (
	subscribePath   = "/v1/stripecli/subscribe"
	listenProtocol  = "stripecli-devproxy-v1"
	headerWebsocket = "Websocket-Id"
	featureSnapshot = "webhooks"
	featureThin     = "v2_events"
	// endReason, in a socket's closing, ends its session.
	endReason = "end of session"
)

func (c *call) createSession() ([]byte, error) {
	if c.api.sessions == nil {
		return nil, fault.NotFoundf("This server does not stream events.")
	}
	form, err := c.readForm()
	if err != nil {
		return nil, err
	}
	device, _, err := form.text("device_name")
	if err != nil {
		return nil, err
	}
	if len(device) > maxHeader {
		return nil, fault.Invalidf("device_name", "The name is longer than %d bytes. Choose a shorter one with --device-name.", maxHeader)
	}
	key, err := c.key()
	if err != nil {
		return nil, err
	}
	features := form.list("websocket_features")
	p, err := c.api.sessions.Prepare(c.r.Context(), c.caller, listen.Request{
		Key: key, Device: device, Snapshot: slices.Contains(features, featureSnapshot), Thin: slices.Contains(features, featureThin),
	})
	if err != nil {
		return nil, err
	}
	return encode(struct {
		URL            string `json:"websocket_url"`
		ID             string `json:"websocket_id"`
		Feature        string `json:"websocket_authorized_feature"`
		ReconnectDelay int    `json:"reconnect_delay"`
		Secret         string `json:"secret"`
		DefaultVersion string `json:"default_version"`
		LatestVersion  string `json:"latest_version"`
		DeviceToken    string `json:"device_token"`
		ConnectWarning bool   `json:"display_connect_filter_warning"`
	}{
		URL: c.socketURL(), ID: p.Ticket, Feature: strings.Join(features, ","), ReconnectDelay: int(listen.ReconnectDelay / time.Second),
		Secret: p.Secret, DefaultVersion: p.DefaultVersion, LatestVersion: p.LatestVersion,
	})
}

// socketURL is where the client that reached us in this way reaches the socket.
func (c *call) socketURL() string {
	scheme := "ws"
	if c.r.TLS != nil || c.r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "wss"
	}
	return scheme + "://" + c.r.Host + subscribePath
}

// subscribe serves the socket of a session. It needs no API key: the session's
// id is a secret that was given to one who has it.
func (c *call) subscribe(ctx context.Context) error {
	if c.api.sessions == nil {
		return fault.NotFoundf("This server does not stream events.")
	}
	socket, err := c.api.sessions.Connect(ctx, c.r.Header.Get(headerWebsocket))
	if errors.Is(err, listen.ErrUnknown) {
		return fault.NotFoundf("Unknown WebSocket ID.") // the words that the client looks for
	}
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // the request's ends with nothing that matters here
	defer socket.Close(ctx)
	c.wrote = true
	conn, err := websocket.Accept(c.w, c.r, &websocket.AcceptOptions{Subprotocols: []string{listenProtocol}})
	if err != nil {
		return nil //nolint:nilerr // Accept has answered
	}
	v := &conversation{
		call: c, conn: conn, socket: socket,
		unacked: map[frameID]bool{}, open: map[string]int{}, acked: make(chan string, maxHeld), progress: make(chan struct{}, 1),
	}
	v.run(ctx)
	return nil
}

const (
	// maxHeld is how many messages a client may leave unacknowledged.
	maxHeld = 256
	// maxFrame bounds what a client sends: a response with the request that
	// led to it.
	maxFrame = 8 << 20
	// pingEvery is how often the client is asked whether it lives, and
	// frameTimeout how long it may take to answer, or to take a frame.
	pingEvery    = 15 * time.Second
	frameTimeout = 10 * time.Second
)

// conversation is what goes on over one socket.
type conversation struct {
	call   *call
	conn   *websocket.Conn
	socket *listen.Socket

	mu      sync.Mutex
	unacked map[frameID]bool // the frames that the client has
	open    map[string]int   // the frames of each message that are not acknowledged
	ended   bool             // by the client, for good

	acked    chan string   // messages whose frames are all acknowledged
	progress chan struct{} // holds one sign that fewer messages are held
}

// frameID is what an acknowledgement names.
type frameID struct{ message, copy string }

// The copies of a snapshot. A client drops those that it did not ask for.
const (
	copyDefault = "default"
	copyLatest  = "latest"
)

func (v *conversation) run(ctx context.Context) {
	v.conn.SetReadLimit(maxFrame)
	life, end := context.WithCancel(ctx)
	defer end()
	var parts sync.WaitGroup
	for _, part := range []func(context.Context){v.read, v.settle, v.keep, v.send, v.heed} {
		parts.Go(func() {
			defer end()
			part(life)
		})
	}
	parts.Wait()
	_ = v.conn.CloseNow() // it is broken, or the client dials again
	v.settleRest(ctx)
	if v.ended {
		if err := v.socket.End(ctx); err != nil {
			v.call.api.log.Debug("a listening session could not be ended; it will by itself", "error", err)
		}
	}
}

// heed ends the conversation when the socket is to be closed.
func (v *conversation) heed(ctx context.Context) {
	select {
	case <-v.socket.Done():
	case <-ctx.Done():
	}
}

// incoming is a frame of the client's.
type incoming struct {
	Type           string `json:"type"`
	WebhookID      string `json:"webhook_id"`
	ConversationID string `json:"webhook_conversation_id"`
	// Of a webhook_response:
	EventID    string `json:"notification_id"`
	ForwardURL string `json:"forward_url"`
	Status     int    `json:"status"`
}

// read takes what the client sends.
func (v *conversation) read(ctx context.Context) {
	for {
		_, raw, err := v.conn.Read(ctx)
		var closed websocket.CloseError
		if errors.As(err, &closed) && closed.Reason == endReason {
			v.ended = true
		}
		if err != nil {
			return
		}
		var f incoming
		if json.Unmarshal(raw, &f) != nil {
			continue // other clients may say more than we understand
		}
		switch f.Type {
		case "event_ack":
			v.ack(ctx, frameID{f.WebhookID, f.ConversationID})
		case "webhook_response":
			v.call.api.log.Debug("a listening client forwarded an event", "event", f.EventID, "to", f.ForwardURL, "status", f.Status)
		}
	}
}

func (v *conversation) ack(ctx context.Context, id frameID) {
	v.mu.Lock()
	done := false
	if v.unacked[id] {
		delete(v.unacked, id)
		v.open[id.message]--
		if done = v.open[id.message] <= 0; done {
			delete(v.open, id.message)
		}
	}
	v.mu.Unlock()
	if done {
		select {
		case v.acked <- id.message:
		case <-ctx.Done():
		}
	}
}

// settle removes what is acknowledged, many at a time if they come fast.
func (v *conversation) settle(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-v.acked:
			v.remove(ctx, v.gather(id))
		}
		select {
		case v.progress <- struct{}{}:
		default:
		}
	}
}

// settleRest removes what was acknowledged last.
func (v *conversation) settleRest(ctx context.Context) {
	if ids := v.gather(); len(ids) > 0 {
		v.remove(ctx, ids)
	}
}

func (v *conversation) gather(ids ...string) []string {
	for {
		select {
		case id := <-v.acked:
			ids = append(ids, id)
		default:
			return ids
		}
	}
}

func (v *conversation) remove(ctx context.Context, ids []string) {
	if err := v.socket.Ack(context.WithoutCancel(ctx), ids); err != nil {
		v.call.api.log.Debug("events that a listening client has will be sent to it again", "error", err)
	}
}

// keep ends the conversation when the client is gone, or not entitled any more.
func (v *conversation) keep(ctx context.Context) {
	t := time.NewTicker(pingEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		ping, cancel := context.WithTimeout(ctx, frameTimeout)
		err := v.conn.Ping(ping)
		cancel()
		if err != nil {
			return
		}
		if err := v.socket.Keep(ctx); errors.Is(err, listen.ErrUnknown) {
			return
		}
	}
}

// send sends what comes.
func (v *conversation) send(ctx context.Context) {
	for {
		for v.socket.Held() >= maxHeld {
			select {
			case <-ctx.Done():
				return
			case <-v.progress:
			}
		}
		messages, err := v.socket.Receive(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if f := fault.As(err); f == nil || f.Kind != fault.Unavailable {
				v.call.api.log.Debug("a listening session ended", "error", err)
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
		}
		for _, m := range messages {
			if !v.sendMessage(ctx, m) {
				return
			}
		}
	}
}

// outgoing is a frame of ours.
type outgoing struct {
	Type           string            `json:"type"`
	WebhookID      string            `json:"webhook_id,omitempty"`
	ConversationID string            `json:"webhook_conversation_id,omitempty"`
	EventPayload   string            `json:"event_payload,omitempty"`
	Endpoint       *frameEndpoint    `json:"endpoint,omitempty"`
	DestinationID  string            `json:"destination_id,omitempty"`
	Payload        string            `json:"payload,omitempty"`
	Header         map[string]string `json:"http_headers"`
}

type frameEndpoint struct {
	APIVersion *string `json:"api_version"`
}

func (v *conversation) sendMessage(ctx context.Context, m listen.Message) bool {
	var frames []outgoing
	if m.Kind == event.Thin {
		frames = append(frames, outgoing{Type: "v2_event", DestinationID: m.ID, Payload: string(m.Body), Header: v.socket.Header(m.Body)})
	} else {
		version := v.socket.Latest()
		latest := event.Relabel(m.Body, version)
		frames = append(frames, outgoing{
			Type: "webhook_event", WebhookID: m.ID, ConversationID: copyDefault, EventPayload: string(m.Body),
			Endpoint: &frameEndpoint{}, Header: v.socket.Header(m.Body),
		}, outgoing{
			Type: "webhook_event", WebhookID: m.ID, ConversationID: copyLatest, EventPayload: string(latest),
			Endpoint: &frameEndpoint{&version}, Header: v.socket.Header(latest),
		})
	}
	v.mu.Lock()
	v.open[m.ID] = len(frames)
	for _, f := range frames {
		v.unacked[frameID{m.ID, f.ConversationID}] = true
	}
	v.mu.Unlock()
	for i := range frames {
		raw, err := encode(&frames[i])
		if err != nil {
			v.call.api.log.Error("a frame for a listening client", "error", err)
			return false
		}
		write, cancel := context.WithTimeout(ctx, frameTimeout)
		err = v.conn.Write(write, websocket.MessageText, raw)
		cancel()
		if err != nil {
			return false
		}
	}
	return true
}
