#!/usr/bin/env python3
"""validate_aws.py OPERATION FILE.json [--service ec2|ebs] [--models DIR] [--strict/--no-strict] [--member NAME]

Validate a request JSON against the real AWS model shipped in botocore, offline.
 * OPERATION: API name (ImportImage) or CLI name (import-image).
 * --member DiskContainers : FILE holds only that member (containers.json of
   `aws ec2 import-image --disk-containers file://containers.json`).
 * layer 1: botocore.validate.ParamValidator (types, required, unknown members, minimum)
 * layer 2 (strict, default): what ParamValidator does NOT check: enum, pattern, max, and
   the rules that AWS states only in prose (marked [doc]).
Exit: 0 valid, 1 invalid (errors on stderr), 2 usage / unreadable input.
"""
import argparse, base64, json, re, sys
import botocore, botocore.loaders
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from botocore import xform_name

def load(op, service, models):
    loader = botocore.loaders.Loader(extra_search_paths=[models] if models else None)
    for svc in ([service] if service else ['ec2', 'ebs']):
        m = ServiceModel(loader.load_service_model(svc, 'service-2'), svc)
        for name in m.operation_names:
            if op in (name, xform_name(name), xform_name(name, '-')):
                return svc, m.operation_model(name)
    raise SystemExit2(f'unknown operation {op}')

class SystemExit2(Exception): pass

def strict(shape, v, path, out):
    if v is None: return
    t = shape.type_name
    if t == 'structure' and isinstance(v, dict):
        for k, sub in v.items():
            if k in shape.members: strict(shape.members[k], sub, f'{path}.{k}' if path else k, out)
    elif t == 'list' and isinstance(v, list):
        md = shape.metadata
        if 'max' in md and len(v) > md['max']: out.append(f'{path}: {len(v)} items, max {md["max"]}')
        for i, sub in enumerate(v): strict(shape.member, sub, f'{path}[{i}]', out)
    elif t == 'map' and isinstance(v, dict):
        for k, sub in v.items(): strict(shape.value, sub, f'{path}.{k}', out)
    elif isinstance(v, str) and t in ('string', 'blob'):
        md = shape.metadata
        if getattr(shape, 'enum', None) and v not in shape.enum:
            e = shape.enum; out.append(f'{path}: {v!r} not in enum [{", ".join(e[:12])}{" ..." if len(e) > 12 else ""}]')
        if 'max' in md and len(v) > md['max']: out.append(f'{path}: length {len(v)}, max {md["max"]}')
        # Java-style patterns are whole-match on the service side
        if 'pattern' in md and not re.fullmatch(md['pattern'].strip('^$'), v): out.append(f'{path}: {v!r} does not match {md["pattern"]}')
    elif isinstance(v, (int, float)) and not isinstance(v, bool):
        if 'max' in shape.metadata and v > shape.metadata['max']: out.append(f'{path}: {v} > max {shape.metadata["max"]}')

NAME = re.compile(r"[A-Za-z0-9()\[\] ./\-'@_]{3,128}")
def prose(op, p, out):
    def one_of(path, v, allowed, ci=False):
        if v is not None and (v.lower() if ci else v) not in [a.lower() if ci else a for a in allowed]:
            out.append(f'[doc] {path}: {v!r}, documented values {" | ".join(allowed)}')
    tags = p.get('TagSpecifications') or []
    want = {'ImportImage': 'import-image-task', 'ImportSnapshot': 'import-snapshot-task', 'RegisterImage': 'image'}.get(op)
    for i, t in enumerate(tags):
        if want and t.get('ResourceType') != want: out.append(f'[doc] TagSpecifications[{i}].ResourceType must be {want}')
        for j, kv in enumerate(t.get('Tags') or []):
            if len(kv.get('Key', '')) > 127 or kv.get('Key', '').startswith('aws:'): out.append(f'[doc] TagSpecifications[{i}].Tags[{j}].Key: max 127 characters, not aws:*')
            if len(kv.get('Value', '')) > 256: out.append(f'[doc] TagSpecifications[{i}].Tags[{j}].Value: max 256 characters')
    if op in ('ImportImage', 'ImportSnapshot'):
        if p.get('KmsKeyId') and not p.get('Encrypted'): out.append('[doc] KmsKeyId needs Encrypted=true')
        cs = p.get('DiskContainers') if op == 'ImportImage' else [p['DiskContainer']] if p.get('DiskContainer') else []
        if not cs: out.append('[doc] no disk container')
        if cs and len(cs) > 21: out.append('[doc] more than 21 volumes')
        fm = ['OVA', 'VHD', 'VHDX', 'VMDK', 'RAW'] if op == 'ImportImage' else ['VHD', 'VMDK', 'RAW']
        for i, c in enumerate(cs or []):
            one_of(f'disk container {i} Format', c.get('Format'), fm + (['VHDX'] if op == 'ImportSnapshot' else []), ci=True)
            src = [k for k in ('Url', 'UserBucket', 'SnapshotId') if c.get(k)]
            if len(src) != 1: out.append(f'[doc] disk container {i}: exactly one of Url, UserBucket, SnapshotId (have {src})')
            ub = c.get('UserBucket') or {}
            if ub and not (ub.get('S3Bucket') and ub.get('S3Key')): out.append(f'[doc] disk container {i}: UserBucket needs S3Bucket and S3Key')
            if c.get('Url') and not re.match(r'(s3|https)://', c['Url'], re.I): out.append(f'[doc] disk container {i}: Url must be s3:// or https://')
    if op == 'ImportImage':
        one_of('Architecture', p.get('Architecture'), ['i386', 'x86_64'])
        one_of('Platform', p.get('Platform'), ['Windows', 'Linux'])
        one_of('LicenseType', p.get('LicenseType'), ['AWS', 'BYOL'])
        one_of('Hypervisor', p.get('Hypervisor'), ['xen'])
        if p.get('BootMode') == 'uefi-preferred': out.append("[doc] BootMode uefi-preferred isn't supported for importing images")
        if p.get('LicenseType') and p.get('UsageOperation'): out.append('[doc] LicenseType and UsageOperation together are an error')
    if op in ('RegisterImage', 'CopyImage', 'CreateImage') and p.get('Name') and not NAME.fullmatch(p['Name']): out.append("[doc] Name: 3-128 of alphanumerics ()[] ./-'@_ and space")
    if op == 'RegisterImage':
        b = p.get('BlockDeviceMappings') or []; names = [x.get('DeviceName') for x in b]
        if len(set(names)) != len(names): out.append('[doc] duplicate DeviceName')
        if p.get('RootDeviceName') and p['RootDeviceName'] not in names: out.append('[doc] RootDeviceName has no BlockDeviceMapping')
        if p.get('VirtualizationType', 'paravirtual') != 'hvm': out.append('[doc] VirtualizationType defaults to paravirtual; say hvm')
        if 'Architecture' not in p: out.append('[doc] Architecture defaults to i386 for EBS-backed AMIs')
        if p.get('TpmSupport') and p.get('BootMode') != 'uefi': out.append('[doc] TpmSupport v2.0 needs BootMode=uefi')
        if p.get('UefiData') is not None:
            try:
                if base64.b64decode(p['UefiData'], validate=True)[:8] != b'AMZNUEFI': out.append('[doc] UefiData: no AMZNUEFI magic')
            except Exception as e: out.append(f'[doc] UefiData: not base64 ({e})')
        lim = dict(gp2=(1, 16384), gp3=(1, 65536), io1=(4, 16384), io2=(4, 65536), st1=(125, 16384), sc1=(125, 16384), standard=(1, 1024))
        for i, x in enumerate(b):
            e = x.get('Ebs') or {}
            if e.get('SnapshotId') and 'Encrypted' in e: out.append(f'[doc] BlockDeviceMappings[{i}]: Encrypted cannot be given with SnapshotId')
            if e and not (e.get('SnapshotId') or e.get('VolumeSize')): out.append(f'[doc] BlockDeviceMappings[{i}]: SnapshotId or VolumeSize')
            lo, hi = lim.get(e.get('VolumeType'), (1, 65536))
            if e.get('VolumeSize') is not None and not lo <= e['VolumeSize'] <= hi: out.append(f'[doc] BlockDeviceMappings[{i}]: VolumeSize {lo}-{hi} GiB')
    if op == 'ModifyImageAttribute':
        lp = p.get('LaunchPermission') or {}
        for e in (lp.get('Add') or []) + (lp.get('Remove') or []):
            if e.get('UserId') and not re.fullmatch(r'\d{12}', e['UserId']): out.append(f'[doc] UserId {e["UserId"]!r}: 12 digits')
            if e.get('OrganizationArn') and not re.fullmatch(r'arn:aws[a-z-]*:organizations::\d{12}:organization/o-[a-z0-9]{10,32}', e['OrganizationArn']): out.append('[doc] OrganizationArn form')
            if e.get('OrganizationalUnitArn') and not re.fullmatch(r'arn:aws[a-z-]*:organizations::\d{12}:ou/o-[a-z0-9]{10,32}/ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}', e['OrganizationalUnitArn']): out.append('[doc] OrganizationalUnitArn form')
    if op == 'StartSnapshot':
        if p.get('Encrypted') is not None and p.get('ParentSnapshotId'): out.append('[doc] Encrypted and ParentSnapshotId exclude each other')
        if p.get('VolumeSize', 1) > 65536: out.append('[doc] VolumeSize max 65536 GiB')
    if op == 'PutSnapshotBlock' and p.get('DataLength') not in (None, 524288): out.append('[doc] DataLength must be 524288')

def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('operation'); a.add_argument('file'); a.add_argument('--service'); a.add_argument('--models')
    a.add_argument('--member'); a.add_argument('--no-strict', action='store_true')
    n = a.parse_args()
    try:
        svc, op = load(n.operation, n.service, n.models)
        p = json.load(sys.stdin if n.file == '-' else open(n.file))
    except (OSError, ValueError, SystemExit2) as e:
        print(e, file=sys.stderr); return 2
    if n.member: p = {n.member: p}
    errs = []
    rep = ParamValidator().validate(p, op.input_shape)
    if rep.has_errors(): errs += rep.generate_report().splitlines()
    if not n.no_strict:
        strict(op.input_shape, p, '', errs)
        if not rep.has_errors() or all(e.startswith('Invalid length') or e.startswith('Invalid range') or 'validation failed' in e for e in rep.generate_report().splitlines()):
            prose(op.name, p, errs)
    for e in errs: print(f'{svc}.{op.name}: {e}', file=sys.stderr)
    if not errs: print(f'{svc}.{op.name}: valid (botocore {botocore.__version__})')
    return 1 if errs else 0
if __name__ == '__main__': sys.exit(main())
