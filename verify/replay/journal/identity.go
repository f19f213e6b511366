package journal

// identity tells a file from copies of the file: the inode and, if the file system records
// births, the time of birth in Unix ns. Writing, moving within the file system, and
// changing owner or mode leave both unchanged; restoring from a backup makes another file.
// A volume and the same volume put back from a snapshot have equal identities.
type identity struct {
	inode uint64
	born  int64
}
