"""The page that is looked at each morning: `snf web`. It reads the files of the history and asks no other host.

asked    what a request asks for, checked
data     answers, as rows
mask     pseudonyms that stand for subscribers until somebody asks for theirs
guard    who may ask: hosts, tokens, headers
app      paths and their answers
serve    the socket and its end
static   the page itself: text that a browser reads as it is, and uPlot (MIT)
"""
