"""From any pile of pictures to a prepared set, by worker processes, with the state on the disk.

While a set is made, `.preparing-NAME` lies beside it:

- `ledger.sqlite`: a row per file (name, place, size and time, SHA-256, reason) and a row per square;
- `squares.bin`: the squares, one after the other as they were made;
- `unpacked-N`: the pictures of a compressed tar, while they are needed.

The set is a function of the sources and the options alone. It is put together from the ledger in the order of names
when all files are done, beside its place, and moved there whole; then `.preparing-NAME` is removed. So it does not
matter in which order files were given, found or done, how often the work was stopped, or whether a file was there at
the first run or came later: the bytes are the same. When a set grows, every file is read and hashed again, but only
new bytes are decoded; the squares of the others are copied from the older set.

Nothing is held in memory that grows with the number of files, but for a byte a picture (its side of the split).
"""
