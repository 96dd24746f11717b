while :; do
  ask aws ec2 describe-snapshots --snapshot-ids "$snapshots" --output text \
    --query "Snapshots[0].join('|', [State || '-', Progress || '-', StateMessage || '-'])"
  IFS='|' read -r status percent message <<<"$answer"
  case $status in
    completed) break ;;
    error) die "the snapshot failed: $message" ;;
    *) progress "$snapshots: $status, $percent, $message" ;;
  esac
  rest
done
say "$snapshots is complete"
