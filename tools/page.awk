# Puts the files that `.\" include FILE` names into a manual page: what several pages say in the same words is written once.
$1 == ".\\\"" && $2 == "include" {
    file = dir "/" $3
    while ((got = (getline line < file)) > 0)
        print line
    if (got < 0) {
        print FILENAME ": can't read " file > "/dev/stderr"
        exit 1
    }
    close(file)
    next
}
{ print }
