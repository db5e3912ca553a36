package destination

var (
	CheckEvents   = checkEvents
	CheckMetadata = checkMetadata
	MergeMetadata = mergeMetadata
	SealContext   = sealContext
)
