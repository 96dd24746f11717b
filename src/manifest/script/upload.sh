# 1. The image goes to S3, with its checksum beside it, so that a second run finds it there.
upload() {
  say "uploading $image to $object"
  aws s3 cp --only-show-errors --metadata "linear-sha256=$checksum" "$image" "$object" >&2
  uploaded=$object
}
have=$(aws s3api head-object --bucket "$bucket" --key "$key" --query 'Metadata."linear-sha256"' --output text 2>/dev/null) || have=nothing
case $have in
  nothing) upload ;;
  "$checksum") say "the image is at $object already" ;;
  *)
    [ -n "${REPLACE:-}" ] || die "something else lies at $object (REPLACE=1 overwrites it)"
    upload
    ;;
esac
