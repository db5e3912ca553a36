package sqlstore

// What the tests of the query plans look at.
const (
	VisibleQuery     = visibleQuery
	InOrderQuery     = inOrderQuery
	InFlightQuery    = inFlightQuery
	MovableQuery     = movableQuery
	DropQuery        = dropQuery
	ReadyQuery       = readyQuery
	TrimLogQuery     = trimLogQuery
	TrimArchiveQuery = trimArchiveQuery
	ArchivedQuery    = archivedQuery
	ResourceQuery    = resourceQuery
	AnyEvent         = anyEvent
	FailedEvent      = failedEvent
	TriesQuery       = triesQuery
	WaitingQuery     = waitingQuery
	HeadsQuery       = headsQuery
	ScanQuery        = scanQuery
	MentionQuery     = mentionQuery
	RecentQuery      = recentQuery
	IndexQuery       = indexQuery
)

var (
	ListResources = listResources
	ListObjects   = listObjects
)

func (db *DB) PendingEvent() string { return db.pendingEvent() }
