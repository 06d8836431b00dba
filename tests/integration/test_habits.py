"""What fingers type that are used to ssh, pdsh, clush and nodeset: it works, or the one line that is printed says how it is said here."""
import pytest


def test_the_habits_that_work(client, sshd):
    for words, said in [(["hosts", "node[1-3]"], "node1\nnode2\nnode3\n"), (["hosts", "-f", "node1", "node2"], "node[1-2]\n"), (["hosts", "-c", "node[1-3]", "-x", "node2"], "2\n"),
                        (["hosts", "-S", ",", "-e", "n[8-9]"], "n8,n9\n")]:
        done = client.run(words)
        assert done.code == 0 and done.text == said, done
    for word in "-h", "-V":
        done = client.run([word])
        assert done.code == 0 and "sshexec" in done.text and not done.err, done
    done = client.run(["run", "-l", sshd.user, "-t", "5", "-u", "5", "-f", "10", "-b", "-w", "node[1-3]", "-x", "node2", "exec", "--", "uname"])
    assert done.code == 0 and done.text == "---------------\nnode[1,3] (2)\n---------------\nLinux\n", done


@pytest.mark.parametrize("words, code, said", [
    (["-w", "node[1-3]", "uptime"], 125, "a command stands before its options: sshexec run -w ..."),
    (["exec", "-w", "node1", "uname"], 125, 'unknown command "exec" (sshexec help; workers are run by sshexec run exec)'),
    (["run", "-w", "node[1-2]", "uname"], 127, "(a program is run by the type exec: sshexec run exec ... -- uname) (nor does any of the hosts have it)"),
    (["run", "-w", "node[1-2]", "uname -r"], 127, "(a program is run by the type exec: sshexec run exec ... -- uname -r)"),
    (["run", "uptime", "node1"], 127, "(a program is run by the type exec: sshexec run exec ... -- uptime)"),
    (["run", "node1", "hello"], 127, "there is no type node1, but a type hello: it stands before the host (sshexec run hello node1)"),
    (["run", "-w", "node1", "exec", "uname", "-s"], 125, "-s needs a value (sshexec run --help; words for the worker stand behind --)"),
    (["run", "-w", "node1", "exec", "ls", "--zero"], 125, "unknown option --zero (sshexec run --help; words for the worker stand behind --)"),
    (["run", "exec", "node1", "--", "uname -r | cat"], 123, "No such file or directory (a line for the shell is cmd='...')"),
])
def test_the_others_are_told_how_to_say_it(client, words, code, said):
    done = client.run(words)
    assert done.code == code and said in done.error and done.error.count("\n") == 1 and not done.text, done
