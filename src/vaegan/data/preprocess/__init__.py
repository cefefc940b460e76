"""Preprocessing: folders and archives of images become a prepared dataset.

The main process searches the sources and stores the state on disk; worker processes decode, crop and resize. While a
dataset is prepared, `.preparing-NAME` is beside it:

- `state.sqlite`: one row per source file and one row per prepared image;
- `images.bin`: the prepared images, in the order in which they were made;
- `unpacked-N`: the images of a compressed tar archive.

When all files are done, the dataset is assembled in the order of file names and moved to its place in one step. Then
`.preparing-NAME` is removed. The dataset depends only on the sources and the options, not on the order of the work or
on interruptions: the same sources and options give the same bytes.

Memory use does not grow with the number of files, except for one byte per image (its split).
"""
