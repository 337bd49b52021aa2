import pytest

from luci_tui.chat.doubt import doubtful_arguments


@pytest.mark.parametrize(
    ("request_text", "command"),
    [
        ("list the files", "ls"),
        ("show notes.txt", "cat notes.txt"),
        ("go to the folder ~/papers/", "cd ~/papers"),
        ("what is in my home directory", "ls ~"),
        ("show todo.txt in my home directory", "cat ~/todo.txt"),
        ("go up one level", "cd .."),
        ("find all PDFs in Downloads", "find Downloads -name '*.pdf'"),
        ("find .tar.gz files", "find . -name '*.tar.gz'"),
        ("find files with 'tax 2031' in the name", "find . -name '*tax 2031*'"),
        ("files over 10 megabytes", "find . -type f -size +10M"),
        ("files bigger than a gigabyte in data", "find data -type f -size +1G"),
        ("files over 500 KB", "find . -type f -size +500k"),
        ("files changed in the last week", "find . -type f -mtime -7"),
        ("files older than two months", "find . -type f -mtime +60"),
        ("files changed today", "find . -type f -mtime -1"),
        ("files changed in the last 48 hours", "find . -type f -mtime -2"),
        ("the first five lines of a.txt", "head -n 5 a.txt"),
        ("lines 3 to 9 of a.txt", "sed -n '3,9p' a.txt"),
        ("the third column of t.csv", "cut -d',' -f3 t.csv"),
        ("replace red by blue in a.css", "sed -i 's/red/blue/g' a.css"),
        ("ten biggest files in src", "du -ah src | sort -rh | head -n 10"),
        ("biggest files here", "du -ah . | sort -rh | head -n 10"),
        ("back up a.conf", "cp a.conf a.conf.bak"),
        ("pack photos with tar", "tar -czf photos.tar.gz photos"),
        ("zip photos", "zip -r photos.zip photos"),
        ("make run.sh executable", "chmod +x run.sh"),
        ("give a.sh the mode 755", "chmod 755 a.sh"),
        ("make bob the owner of a.txt", "sudo chown bob a.txt"),
        ("which process uses port 8080", "lsof -i :8080"),
        ("commit with the message 'fix it'", "git commit -m 'fix it'"),
        ("create the branch dev", "git checkout -b dev"),
        ("ping web01", "ping -c 4 web01"),
        ("ssh to web01 as bob on port 2222", "ssh -p 2222 bob@web01"),
        ("copy a.txt to bob@web01 into /srv", "scp a.txt bob@web01:/srv"),
        ("get a.txt from bob@web01", "scp bob@web01:a.txt ."),
        ("last 20 journal lines of nginx", "journalctl -u nginx -n 20"),
        ("what uses the most cpu", "ps aux --sort=-%cpu | head"),
        ("venv in .venv", "python3 -m venv .venv"),
        ("which linux is this", "cat /etc/os-release"),
    ],
)
def test_doubtful_arguments_with_copied_arguments_is_empty(request_text, command):
    assert doubtful_arguments(request_text, command) == ()


@pytest.mark.parametrize(
    ("request_text", "command", "expected"),
    [
        ("show notes.txt", "cat note.txt", ("note.txt",)),
        ("where did I put budget.xlsx", "find . -name did.xls", ("did.xls",)),
        ("go to the folder work", "cd ..", ("..",)),
        ("show todo.txt", "cat ~/todo.txt", ("~/todo.txt",)),
        ("files over 10 megabytes", "find . -type f -size +10G", ("+10G",)),
        ("files changed in the last week", "find . -type f -mtime -30", ("-30",)),
        ("the first five lines of a.txt", "head -n 6 a.txt", ("6",)),
        ("the first five lines of a.txt", "head -n 10 a.txt", ("10",)),
        ("lines 3 to 9 of a.txt", "sed -n '3,8p' a.txt", ("8",)),
        ("replace red by blue in a.css", "sed -i 's/red/green/g' a.css", ("green",)),
        ("copy a.txt to bob@web01", "scp a.txt bob@web02:", ("web02",)),
        ("kill process 4711", "kill 4717", ("4717",)),
        ("kill process 4711", "kill 471", ("471",)),
        ("show budget.xlsx", "cat budget.xls", ("budget.xls",)),
        ("show tax-report-2031.txt", "cat report-2031.txt", ("report-2031.txt",)),
        ("the third column of t.csv", "cut -d',' -f2 t.csv", ("2",)),
        ("pack photos with tar", "tar -czf photo2.tar.gz photo2", ("photo2.tar.gz", "photo2")),
        ("delete it", "rm -r /home", ("/home",)),
        ("print a's text", "cat 'a", ("cat 'a",)),
    ],
)
def test_doubtful_arguments_with_changed_arguments_names_them(request_text, command, expected):
    assert doubtful_arguments(request_text, command) == expected


def test_doubtful_arguments_with_a_decline_sentence_does_not_fail():
    assert doubtful_arguments("tell me a joke", "I can't do that yet.") == ("I can't do that yet.",)
