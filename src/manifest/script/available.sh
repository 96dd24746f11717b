while :; do
  ask aws ec2 describe-images --image-ids "$ami" --output text --query "Images[0].join('|', [State || '-', StateReason.Message || '-'])"
  IFS='|' read -r status message <<<"$answer"
  case $status in
    available) break ;;
    pending | transient | - | None) progress "$ami: $status" ;;
    *) die "the AMI is $status: $message" ;;
  esac
  rest
done
