# 2. ImportImage looks into the guest, changes it, and makes the snapshots and the AMI.
say "importing"
attempted=yes
task=$(aws ec2 import-image --cli-input-json "$(import_image)" --query ImportTaskId --output text)
while :; do
  ask aws ec2 describe-import-image-tasks --import-task-ids "$task" --output text \
    --query "ImportImageTasks[0].join('|', [Status || '-', Progress || '-', ImageId || '-', StatusMessage || '-'])"
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
ask aws ec2 describe-import-image-tasks --import-task-ids "$task" --output text --query 'ImportImageTasks[0].SnapshotDetails[].SnapshotId'
snapshots=$(tr '\t' ' ' <<<"$answer")
ami=$made task=''
say "$ami was made of $snapshots"
