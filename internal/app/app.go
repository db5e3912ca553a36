// Package app wires everything: it is the only package that knows all rooms.
// It owns the process: what is opened in which order, the listener, health,
// metrics, and an orderly end.
//
// The data folder holds waybill.db (with its -wal and -shm), encryption.key
// unless the key is configured, and waybill.lock, which keeps a second server
// out of the same folder. With a PostgreSQL it holds at most the key.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waybill-dev/waybill/internal/account"
	"github.com/waybill-dev/waybill/internal/awsapi"
	"github.com/waybill-dev/waybill/internal/bus"
	"github.com/waybill-dev/waybill/internal/config"
	"github.com/waybill-dev/waybill/internal/destination"
	"github.com/waybill-dev/waybill/internal/engine"
	"github.com/waybill-dev/waybill/internal/event"
	"github.com/waybill-dev/waybill/internal/journal"
	"github.com/waybill-dev/waybill/internal/listen"
	"github.com/waybill-dev/waybill/internal/netguard"
	"github.com/waybill-dev/waybill/internal/queue"
	"github.com/waybill-dev/waybill/internal/retry"
	"github.com/waybill-dev/waybill/internal/sandbox"
	"github.com/waybill-dev/waybill/internal/store"
	"github.com/waybill-dev/waybill/internal/stripeapi"
	"github.com/waybill-dev/waybill/internal/target/apidestination"
	"github.com/waybill-dev/waybill/internal/target/webhook"
	"github.com/waybill-dev/waybill/internal/target/wire"
)

// Options of an App beside its configuration.
type Options struct {
	Log     *slog.Logger
	Version string
}

// App is one server.
type App struct {
	cfg     config.Config
	log     *slog.Logger
	version string

	lock     *os.File
	store    store.Store
	webhooks *webhook.Client
	engine   *engine.Engine

	apiDestinations *apidestination.Client

	destinations *destination.Service
	replays      *destination.Replays
	buses        *bus.Service
	queues       *queue.Service
	sandbox      *sandbox.Service
	sessions     *listen.Service
	loops        sync.WaitGroup // what keeps house
	endLoops     context.CancelFunc

	created  *account.Created
	registry *prometheus.Registry
	server   *http.Server
	listener net.Listener
	unix     net.Listener // nil if there is none
	failed   chan error
	stop     sync.Once
	stopErr  error
	started  bool
}

// New opens the data folder and prepares everything; nothing listens yet. The
// caller must Stop what New returned, started or not.
func New(ctx context.Context, cfg config.Config, o Options) (*App, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &App{cfg: cfg, log: o.Log, version: o.Version, failed: make(chan error, 1), registry: prometheus.NewRegistry()}
	if err := a.open(ctx); err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

func (a *App) open(ctx context.Context) error {
	var err error
	if a.cfg.Database == "" {
		if err := os.MkdirAll(a.cfg.Data, 0o700); err != nil {
			return fmt.Errorf("open data folder: %w", err)
		}
		if a.lock, err = lockFolder(a.cfg.Data); err != nil {
			return err
		}
	}
	if a.store, err = openStore(ctx, a.cfg); err != nil {
		return err
	}
	if err := warnNewer(ctx, a.store, a.log); err != nil {
		return err
	}
	key, err := serverKey(ctx, a.cfg, a.store)
	if err != nil {
		return err
	}
	allow, err := netguard.ParseAllow(a.cfg.AllowNetwork)
	if err != nil {
		return fmt.Errorf("allow_network: %w", err)
	}
	guard := netguard.Policy{AllowPrivate: a.cfg.Dev, Allow: allow}
	accounts := account.New(account.Options{
		Store: a.store, Key: key, FirstAWSID: a.cfg.BootstrapAWSAccountID, DefaultAPIVersion: a.cfg.APIVersion,
	})
	if a.created, err = accounts.Bootstrap(ctx, string(a.cfg.BootstrapTestKey), string(a.cfg.BootstrapLiveKey)); err != nil {
		return err
	}
	if err := accounts.BootstrapAWSKey(ctx, string(a.cfg.BootstrapAWSKey)); err != nil {
		return err
	}
	shared, poll := a.cfg.Database != "", time.Duration(0)
	if shared {
		poll = pollEvery
	}
	a.buses = bus.New(bus.Options{
		Store: a.store, Key: key, SourceExpiry: a.cfg.SourceExpiry, Partner: a.cfg.PartnerName, AllowHTTP: a.cfg.Dev,
		Shared: shared, Now: a.store.Now, Log: a.log,
	})
	a.queues = queue.New(queue.Options{Store: a.store, Poll: poll, Now: a.store.Now, Log: a.log})
	a.destinations = destination.New(destination.Options{
		Store: a.store, Key: key, Guard: guard, Retry: schedules(a.cfg.Dev), Sources: a.buses, Partner: a.cfg.PartnerName,
		DisableAfter: a.cfg.DisableAfter, Now: a.store.Now,
	})
	a.webhooks = webhook.New(webhook.Options{Guard: guard, Timeout: a.cfg.DeliveryTimeout})
	//nolint:contextcheck // who sends asks with a time-out of the buses' own
	a.apiDestinations = apidestination.New(apidestination.Options{Guard: guard, Resolve: func(scope event.Scope, arn string) (apidestination.Endpoint, error) {
		e, err := a.buses.APIDestination(scope, arn)
		return apidestination.Endpoint(e), err
	}})
	a.buses.SetAuthorizer(func(ctx context.Context, e bus.Endpoint) (bool, error) {
		return a.apiDestinations.Authorize(ctx, apidestination.Endpoint(e))
	})
	a.sessions = listen.New(listen.Options{
		Store: a.store, Queues: a.queues, Key: key, Authenticate: accounts.Authenticate, UserAgent: wire.UserAgent, Now: a.store.Now, Log: a.log,
	})
	insides, busPuts := insideTargets(a.queues, a.buses).Opener, busTargets(a.buses, a.log).Opener
	a.engine = engine.New(engine.Options{
		Store: a.store, Kin: accounts.Load, Load: load(a.queues, a.destinations, a.buses, a.sessions),
		Open: openers{
			event.TargetWebhook: a.webhooks.Open,
			event.TargetBus:     busPuts, event.TargetEventSource: busPuts,
			event.TargetQueue: insides, event.TargetLog: insides, event.TargetArchive: insides, event.TargetUnsupported: insides,
			event.TargetAPIDestination: a.apiDestinations.Open,
		}.open,
		Gone: a.destinations.DisableGone,
		DeadLetter: func(q event.Queue, body []byte, attributes []event.Attribute) (event.Deposit, error) {
			return a.queues.Deposit(q.Scope, q.ARN, "", "", body, attributes)
		},
		Deposited: func(d *event.Deposit) {
			if d.Kind == event.IntoQueue {
				a.queues.Arrived(d.Into)
			}
		},
		MaxInFlight: a.cfg.MaxInFlight, Log: a.log, Metrics: engine.NewMetrics(a.registry),
	})
	a.destinations.SetEngine(a.engine)
	a.buses.SetEngine(a.engine)
	a.sessions.SetRefresh(a.engine.Refresh)
	a.buses.SetSourceHook(func(ctx context.Context, source string) {
		if err := a.destinations.FollowSource(ctx, source); err != nil {
			a.log.Error("a destination does not follow its event source yet; it will within a minute", "error", err)
		}
	})
	events := journal.New(journal.Options{Store: a.store, Registry: a.store, Destinations: a.destinations, Engine: a.engine, Visible: a.cfg.RetainEvents, Now: a.store.Now, Listeners: a.sessions.Listeners})
	a.replays = destination.NewReplays(destination.ReplayOptions{
		Destinations: a.destinations, Store: a.store, Engine: a.engine, Visible: a.cfg.RetainEvents, Now: a.store.Now, Log: a.log,
	})
	a.sandbox = sandbox.New(sandbox.Options{Store: a.store, Publisher: events, Now: a.store.Now, Log: a.log})
	aws := awsapi.New(awsapi.Options{Accounts: accounts, Buses: a.buses, Queues: a.queues, Log: a.log})
	a.server = &http.Server{
		Handler: a.handler(stripeapi.New(stripeapi.Options{
			Accounts: accounts, Audit: accounts, Destinations: a.destinations, Journal: events, Sandbox: a.sandbox, Replays: a.replays, Sessions: a.sessions,
			CursorKey: key.PageTokens(), Log: a.log,
		}), aws),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	a.measure() //nolint:contextcheck // its gauges are read long after ctx
	return nil
}

// schedules gives the default retries: the sandbox's few are seconds apart in
// development.
func schedules(dev bool) func(live bool) retry.Policy {
	return func(live bool) retry.Policy {
		switch {
		case live:
			return retry.Live()
		case dev:
			return retry.Dev()
		}
		return retry.Sandbox()
	}
}

// Start begins to deliver and to listen; it returns when requests are served.
func (a *App) Start(ctx context.Context) error {
	var err error
	if a.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", a.cfg.Listen); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if a.cfg.ListenUnix != "" {
		if a.unix, err = listenUnix(ctx, a.cfg.ListenUnix); err != nil {
			return err
		}
	}
	if err := a.queues.Start(ctx); err != nil {
		return err
	}
	if err := a.engine.Start(ctx); err != nil {
		a.queues.Stop()
		return err
	}
	a.started = true
	ctx, a.endLoops = context.WithCancel(context.WithoutCancel(ctx))
	a.loops.Go(func() {
		a.whileLeading(ctx, a.keepHouse, a.retain, a.replays.Run, a.buses.RunReplays, a.buses.RunSchedules, a.buses.RunConnections, a.queues.RunMoves, a.sandbox.RunIndex)
	})
	a.loops.Go(func() { a.watchHealth(ctx) })
	for _, l := range a.listeners() {
		go func() {
			if err := a.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				a.fail(fmt.Errorf("serve: %w", err))
			}
		}()
	}
	go func() {
		if err := <-a.engine.Fatal(); err != nil {
			a.fail(err)
		}
	}()
	return nil
}

// pollEvery is how long a receiver that waits at one node may not hear of what
// was sent to another.
const pollEvery = 200 * time.Millisecond

// leadEvery is how often a node looks whether it leads.
const leadEvery = 500 * time.Millisecond

// whileLeading runs what is done once for all nodes, on the one that leads.
func (a *App) whileLeading(ctx context.Context, loops ...func(context.Context)) {
	t := time.NewTicker(leadEvery)
	defer t.Stop()
	var running sync.WaitGroup
	var resign context.CancelFunc
	for {
		switch leads := a.engine.Leads(); {
		case leads && resign == nil:
			var term context.Context
			term, resign = context.WithCancel(ctx)
			for _, loop := range loops {
				running.Go(func() { loop(term) })
			}
		case !leads && resign != nil:
			resign()
			running.Wait()
			resign = nil
		}
		select {
		case <-ctx.Done():
			if resign != nil {
				resign()
			}
			running.Wait()
			return
		case <-t.C:
		}
	}
}

func (a *App) fail(err error) {
	select {
	case a.failed <- err:
	default:
	}
}

// Failed yields the error after which the server cannot go on.
func (a *App) Failed() <-chan error { return a.failed }

// URL is where the server listens, such as http://127.0.0.1:4242. It is only
// known after Start.
func (a *App) URL() string { return "http://" + a.listener.Addr().String() }

// Created is the account that the first start made, with its keys; nil later.
func (a *App) Created() *account.Created { return a.created }

// Stop answers the requests under way, lets the sends under way finish until
// ctx ends, and closes the store. Further calls return what the first did.
func (a *App) Stop(ctx context.Context) error {
	a.stop.Do(func() { a.stopErr = a.shutdown(ctx) })
	return a.stopErr
}

func (a *App) shutdown(ctx context.Context) error {
	var errs []error
	if a.started {
		a.sessions.Stop() // Shutdown knows nothing of sockets
		a.queues.Stop()   // which ends the long polls that Shutdown would wait for
		if err := a.server.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop serving: %w", err), a.server.Close())
		}
		a.endLoops()
		a.loops.Wait()
		errs = append(errs, a.engine.Stop(ctx))
	} else {
		for _, l := range a.listeners() {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(append(errs, a.close())...)
}

func (a *App) close() error {
	var errs []error
	if a.webhooks != nil {
		a.webhooks.Close()
	}
	if a.apiDestinations != nil {
		a.apiDestinations.Close()
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	if a.lock != nil {
		errs = append(errs, a.lock.Close())
	}
	return errors.Join(errs...)
}
