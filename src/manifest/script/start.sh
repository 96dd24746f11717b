say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# What the steps made and the next ones may not need: taken back when a later step fails.
uploaded='' attempted='' task='' snapshots='' ami='' scratch=''
undo() {
  status=$?
  trap - EXIT
  trap '' HUP INT TERM
  [ -z "$scratch" ] || rm -f -- "$scratch" "$scratch".report.json "$scratch".blocks.jsonl
  [ "$status" -ne 0 ] || exit 0
  if [ -n "${KEEP:-}" ]; then
    say "failed; KEEP is set, so this stays: $uploaded $task $snapshots $ami"
    exit "$status"
  fi
  say "failed: taking back what was made"
  if [ -n "$task" ]; then
    say "cancelling $task"
    aws ec2 cancel-import-task --import-task-id "$task" >&2 || say "left behind: the import task $task"
  fi
  if [ -n "$ami" ]; then
    say "deregistering $ami"
    aws ec2 deregister-image --image-id "$ami" >&2 || say "left behind: the AMI $ami"
  fi
  for snapshot in $snapshots; do
    say "deleting $snapshot"
    aws ec2 delete-snapshot --snapshot-id "$snapshot" >&2 || say "left behind: the snapshot $snapshot"
  done
  if [ -n "$uploaded" ]; then
    say "deleting $uploaded"
    aws s3 rm --only-show-errors "$uploaded" >&2 || say "left behind: $uploaded"
  fi
  [ -z "$attempted" ] || say "for another run, write this script with the next --attempt: AWS answers the same request with the same task"
  exit "$status"
}
trap undo EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# ask COMMAND...: its output in $answer. AWS may not answer for a moment, or not know yet what it has just made.
ask() {
  local failures=0
  until answer=$("$@"); do
    failures=$((failures + 1))
    [ "$failures" -lt 5 ] || die "AWS refused five times in a row: $*"
    sleep "$poll"
  done
}

# Waits for the next look. The aws command's own waiters give up after ten minutes, and an import takes longer.
rest() {
  [ "$SECONDS" -lt "$deadline" ] || die "not done after $hours hours"
  sleep "$poll"
}

# progress TEXT: says it when it is new.
said=''
progress() { [ "$said" = "$*" ] || { said=$*; say "$*"; }; }

command -v aws >/dev/null || die "the aws command is not installed"
[ -f "$image" ] || die "$image is no file"
bytes=$(wc -c <"$image")
[ "$bytes" -eq "$image_bytes" ] || die "$image has $bytes bytes, and the image that this was written for has $image_bytes"
