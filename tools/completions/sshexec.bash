# bash completion for sshexec; `sshexec complete` knows what could stand where.

# bash cuts words at = : and @ as well; this puts together again what has no blank between. The line up to the cursor counts.
_sshexec_words() {
    local rest=${COMP_LINE:0:COMP_POINT} trimmed i
    words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        trimmed=${rest#"${rest%%[![:space:]]*}"}
        if ((i == 0)) || [[ $trimmed != "$rest" ]]; then
            words+=("")
        fi
        if ((i == COMP_CWORD)); then
            words[-1]+=$trimmed
        else
            words[-1]+=${COMP_WORDS[i]}
        fi
        rest=${trimmed#"${COMP_WORDS[i]}"}
    done
}

_sshexec() {
    local words current cut line candidates=()
    _sshexec_words
    current=${words[-1]}
    cut=${current%"${current##*[=:@]}"} # what bash leaves as it is: up to an = or :, or to before an @
    [[ $cut && $COMP_WORDBREAKS == *"${cut: -1}"* ]] || cut=
    cut=${cut%@}
    while IFS= read -r line; do
        candidates+=("${line%%$'\t'*}")
    done < <("$1" complete -- "${words[@]:1}" 2>/dev/null)
    COMPREPLY=()
    for line in "${candidates[@]}"; do
        printf -v line %q "${line#"$cut"}"
        [[ ${#candidates[@]} -gt 1 || $line == *[=/.:] ]] || line+=' '
        COMPREPLY+=("$line")
    done
}

complete -o nospace -F _sshexec sshexec
