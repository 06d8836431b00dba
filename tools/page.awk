# Puts the files that `.\" include FILE` names into a manual page: what several pages say in the same words is written once.
function put(line,   words) {
    if (split(line, words) == 3 && words[1] == ".\\\"" && words[2] == "include")
        put_file(dir "/" words[3])
    else
        print line
}
function put_file(file,   line, got) {
    while ((got = (getline line < file)) > 0)
        put(line)
    if (got < 0) {
        print FILENAME ": can't read " file > "/dev/stderr"
        exit 1
    }
    close(file)
}
{ put($0) }
