#!/usr/bin/env python3
"""fake_aws.py SERVICE OPERATION [OPTIONS]

Stands in for the aws command, offline, so that a script of aws commands can be run as a whole.
 * Every call is held to the service model of botocore and to the rules that validate_aws.py knows; a call that AWS would
   refuse ends with 252, as it does with the aws command.
 * It plays AWS: tasks go on with every look, snapshots and AMIs come and go; what is there lies in $FAKE_AWS/state.json.
 * $FAKE_AWS/play.json says what goes wrong: {"fail": {"register-image": 1}} refuses the first such call,
   a list those of the list, "all" every one;
   {"import": "deleted"} lets the import fail, {"image": "failed"} the AMI, {"snapshot": "error"} the snapshot,
   {"objects": {"s3://b/k": "metadata"}} is in the bucket from the start.
 * $FAKE_AWS/calls has a line a call: operation, and its request as JSON; $FAKE_AWS/argv the words of each.
As `coldsnap` (first argument --coldsnap) it plays `coldsnap upload`.
"""
import fcntl, json, os, sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))
import botocore.loaders
import jmespath
import validate_aws
from botocore import xform_name
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

HOME = Path(os.environ['FAKE_AWS'])
OPERATIONS = ['ImportImage', 'ImportSnapshot', 'DescribeImportImageTasks', 'DescribeImportSnapshotTasks', 'CancelImportTask', 'RegisterImage',
              'DeregisterImage', 'DescribeImages', 'DescribeSnapshots', 'DeleteSnapshot', 'CreateTags', 'ModifyImageAttribute',
              'EnableImageDeprecation', 'EnableImageDeregistrationProtection']

class Refused(Exception): pass

def model():
    """The part of EC2's model that the scripts use, kept beside the state: the whole takes a second to load."""
    kept = HOME / 'model.json'
    if not kept.exists():
        whole = botocore.loaders.Loader().load_service_model('ec2', 'service-2')
        operations = {name: whole['operations'][name] for name in OPERATIONS}
        shapes, todo = {}, [o[side]['shape'] for o in operations.values() for side in ('input', 'output') if side in o]
        while todo:
            name = todo.pop()
            if name in shapes: continue
            shape = shapes[name] = whole['shapes'][name]
            todo += [m['shape'] for m in shape.get('members', {}).values()] + [shape[k]['shape'] for k in ('member', 'key', 'value') if k in shape]
        temporary = kept.with_suffix(f'.{os.getpid()}')
        temporary.write_text(json.dumps({'metadata': whole['metadata'], 'operations': operations, 'shapes': shapes}))
        temporary.rename(kept)
    return ServiceModel(json.loads(kept.read_text()), 'ec2')

def options(argv):
    """{option: [values]} and what stands before the first option."""
    plain, given, name = [], {}, None
    for word in argv:
        if word.startswith('--'): name = word[2:]; given.setdefault(name, [])
        elif name: given[name].append(word)
        else: plain.append(word)
    return plain, given

def request(shape, given):
    members = {xform_name(name, '-'): (name, sub) for name, sub in shape.members.items()}
    out = {}
    for option, values in given.items():
        if option in ('query', 'output'): continue
        if option == 'cli-input-json': out = {**json.loads(values[0]), **out}; continue
        if option not in members: raise Refused(f'Unknown options: --{option}')
        name, sub = members[option]
        if sub.type_name == 'list' and not values[0].startswith('['): out[name] = values
        elif sub.type_name in ('list', 'structure'):
            if values[0][0] in '[{': out[name] = json.loads(values[0])
            else:
                from awscli.shorthand import ShorthandParser
                out[name] = ShorthandParser().parse(values[0])
        elif len(values) != 1: raise Refused(f'--{option} takes one value')
        else: out[name] = values[0]
    return out

def check(operation, params):
    errors = []
    report = ParamValidator().validate(params, operation.input_shape)
    if report.has_errors(): errors += report.generate_report().splitlines()
    validate_aws.strict(operation.input_shape, params, '', errors)
    validate_aws.prose(operation.name, params, errors)
    if errors: raise Refused('; '.join(errors))

def text(value):
    if isinstance(value, list): return '\t'.join(text(item) for item in value)
    return 'None' if value is None else str(value)

def look(state, play, what, done, failed=None):
    """The next state of a task: pending twice, then what it ends in."""
    state['looks'][what] = state['looks'].get(what, 0) + 1
    if state['looks'][what] <= 2: return None
    return failed if failed else done

def act(name, p, state, play):
    ids = state['made']
    if name in ('ImportImage', 'ImportSnapshot'):
        # The same token is answered with the same task.
        task = 'import-ami-1' if name == 'ImportImage' else 'import-snap-1'
        state['running'].append(task)
        return {'ImportTaskId': task}
    if name in ('DescribeImportImageTasks', 'DescribeImportSnapshotTasks'):
        task = p['ImportTaskIds'][0]
        ended = look(state, play, task, 'completed', play.get('import'))
        if ended and task in state['running']:
            state['running'].remove(task)
            if ended == 'completed': ids += ['snap-0a1'] + (['snap-0a2', 'ami-0a1'] if name == 'DescribeImportImageTasks' else [])
        message = 'ClientError: Unknown OS / Missing OS files.' if ended == 'deleted' else None if ended else 'pending'
        detail = {'Status': ended or 'active', 'StatusMessage': message, 'Progress': None if ended else str(20 * state['looks'][task])}
        if name == 'DescribeImportSnapshotTasks':
            return {'ImportSnapshotTasks': [{'ImportTaskId': task, 'SnapshotTaskDetail': {**detail, 'SnapshotId': 'snap-0a1' if ended == 'completed' else None}}]}
        if ended == 'completed': detail |= {'ImageId': 'ami-0a1', 'SnapshotDetails': [{'SnapshotId': 'snap-0a1'}, {'SnapshotId': 'snap-0a2'}]}
        return {'ImportImageTasks': [{'ImportTaskId': task, **detail}]}
    if name == 'CancelImportTask':
        if p['ImportTaskId'] not in state['running']: raise Refused('InvalidConversionTaskId: the task has ended')
        state['running'].remove(p['ImportTaskId']); return {}
    if name == 'RegisterImage':
        snapshot = [m['Ebs']['SnapshotId'] for m in p['BlockDeviceMappings'] if m['DeviceName'] == p['RootDeviceName']][0]
        if snapshot not in ids: raise Refused(f'InvalidSnapshot.NotFound: {snapshot}')
        ids.append('ami-0b1'); return {'ImageId': 'ami-0b1'}
    if name == 'DescribeImages':
        image = p['ImageIds'][0]
        if image not in ids: raise Refused(f'InvalidAMIID.NotFound: {image}')
        ended = look(state, play, image, 'available', play.get('image'))
        reason = {'StateReason': {'Message': 'Client.SnapshotError'}} if ended == 'failed' else {}
        return {'Images': [{'ImageId': image, 'State': ended or 'pending', **reason}]}
    if name == 'DescribeSnapshots':
        snapshot = p['SnapshotIds'][0]
        ended = look(state, play, snapshot, 'completed', play.get('snapshot'))
        message = 'Given key ID is not accessible' if ended == 'error' else ''
        return {'Snapshots': [{'SnapshotId': snapshot, 'State': ended or 'pending', 'Progress': '50%', 'StateMessage': message}]}
    gone = p.get('ImageId') or p.get('SnapshotId') or p.get('Resources', [''])[0]
    if gone not in ids: raise Refused(f'{gone} is not there')
    if name in ('DeregisterImage', 'DeleteSnapshot'):
        if name == 'DeleteSnapshot' and any(i.startswith('ami-') for i in ids): raise Refused('InvalidSnapshot.InUse')
        if gone in state['kept']: raise Refused('OperationNotPermitted: deregistration protection')
        ids.remove(gone)
    if name == 'EnableImageDeregistrationProtection': state['kept'].append(gone)
    return {'Return': True}

def s3(command, given, plain, state):
    if command == 's3 cp':
        # The last option is a map or a flag; behind it stand the file and its place.
        words = plain + [w for values in given.values() for w in values]
        file, url = words[-2:]
        if not Path(file).is_file(): raise Refused(f'The user-provided path {file} does not exist.')
        if not url.startswith('s3://'): raise Refused('<S3Uri> is wanted')
        state['objects'][url] = next((w.split('=', 1)[1] for w in words if w.startswith('linear-sha256=')), None)
    elif command == 's3 rm':
        words = plain + [w for values in given.values() for w in values]
        state['objects'].pop(words[-1], None)
    elif command == 's3api head-object':
        url = f's3://{given["bucket"][0]}/{given["key"][0]}'
        if url not in state['objects']: raise Refused('An error occurred (404) when calling the HeadObject operation: Not Found')
        return {'Metadata': {'linear-sha256': state['objects'][url]} if state['objects'][url] else {}}
    else: raise Refused(f'Invalid choice: {command}')
    return None

def coldsnap(argv, state):
    plain, given = options(argv)
    assert plain == ['upload'], plain
    assert set(given) <= {'no-progress', 'volume-size', 'description', 'kms-key-id', 'tag'}, given
    file = [w for values in given.values() for w in values][-1]
    if not Path(file).is_file(): raise Refused(f"Snapshot source file '{file}' does not exist")
    size = Path(file).stat().st_size
    if int(given['volume-size'][0]) * (1 << 30) < size: raise Refused('the volume is too small')
    state['made'].append('snap-0c1')
    print('snap-0c1')

def run(argv, state):
    play_file = HOME / 'play.json'
    play = json.loads(play_file.read_text()) if play_file.exists() else {}
    if not state: state.update(made=[], running=[], kept=[], looks={}, objects=dict(play.get('objects', {})), counts={})
    is_coldsnap = argv[0] == '--coldsnap'
    short = 'coldsnap' if is_coldsnap else argv[1] if argv[0] == 'ec2' else ' '.join(argv[:2])
    plain, given = options(argv[2:])
    params, operation = {}, None
    try:
        if argv[0] == 'ec2':
            service = model()
            operation = next((service.operation_model(n) for n in service.operation_names if xform_name(n, '-') == argv[1]), None)
            if not operation: raise Refused(f'Invalid choice: {argv[1]}')
            params = request(operation.input_shape, given)
            check(operation, params)
    finally:
        with (HOME / 'argv').open('a') as lines: lines.write(json.dumps(argv) + '\n')
        with (HOME / 'calls').open('a') as calls: calls.write(f'{short}\t{json.dumps(params or argv[2:])}\n')
    count = state['counts'][short] = state['counts'].get(short, 0) + 1
    fail = play.get('fail', {}).get(short)
    if fail == 'all' or count == fail or isinstance(fail, list) and count in fail: raise Refused(f'An error occurred (Injected) when calling {short}')
    if is_coldsnap: return coldsnap(argv[1:], state)
    answer = act(operation.name, params, state, play) if operation else s3(short, given, plain, state)
    if answer is None: return
    if 'query' in given: answer = jmespath.search(given['query'][0], answer)
    print(text(answer) if given.get('output') == ['text'] else json.dumps(answer))

def main():
    HOME.mkdir(exist_ok=True)
    with (HOME / 'lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        file = HOME / 'state.json'
        state = json.loads(file.read_text()) if file.exists() else {}
        try: run(sys.argv[1:], state); return 0
        except Refused as error: print(error, file=sys.stderr); return 252
        finally: file.write_text(json.dumps(state))

if __name__ == '__main__': sys.exit(main())
