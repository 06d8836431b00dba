# fish completion for sshexec; `sshexec complete` knows what could stand where.

function __sshexec_complete
    set -l words (commandline --tokenize --cut-at-cursor --current-process)
    set -l current (commandline --current-token --cut-at-cursor)
    command $words[1] complete -- $words[2..-1] $current 2>/dev/null
end

complete --command sshexec --no-files --arguments '(__sshexec_complete)'
