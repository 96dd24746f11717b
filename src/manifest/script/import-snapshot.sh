# 2. ImportSnapshot makes the snapshot, as it is.
say "importing"
attempted=yes
task=$(aws ec2 import-snapshot --cli-input-json "$(import_snapshot)" --query ImportTaskId --output text)
while :; do
  ask aws ec2 describe-import-snapshot-tasks --import-task-ids "$task" --output text \
    --query "ImportSnapshotTasks[0].SnapshotTaskDetail.join('|', [Status || '-', Progress || '-', SnapshotId || '-', StatusMessage || '-'])"
  IFS='|' read -r status percent made message <<<"$answer"
  case $status in
    completed) break ;;
    deleting | deleted)
      task=''
      die "the import failed: $message"
      ;;
    *) progress "$task: $status, $percent %, $message" ;;
  esac
  rest
done
snapshots=$made task=''
say "$snapshots was made"
