package journal

// An identity tells a file from its copies: the inode and, where the file
// system records it, the time of birth in Unix ns. Writing to a file, moving it
// within its file system and changing its owner or mode leave both as they are;
// who restores a file from a backup makes another one. It cannot tell a volume
// from the same volume put back from a snapshot.
type identity struct {
	inode uint64
	born  int64
}
