#!/usr/bin/perl
# quota_in_guest.pl: the only process (init=) of the guest of tests/quota.rs.
#
# The root filesystem and that of the third partition have quota files. Asks the
# kernel, by quotactl(2), what every user, group and project has, and compares
# with what it counts itself from all inodes; before anything is written, after
# many owners have come and gone, and after the filesystem was mounted anew. A
# limit has to hold. Then prints ROOTVOL-QUOTA-OK on the serial console and
# powers off. The first thing that goes wrong is printed as "quota: FAILED ...",
# with the kernel's log.
use strict;
use warnings;

$ENV{PATH} = '/usr/sbin:/usr/bin:/sbin:/bin';
my ($root, $data) = ('/dev/nvme0n1p2', '/dev/nvme0n1p3');
my %fs = ($root => '/run/root', $data => '/srv');
my @kinds = ('user', 'group', 'project');
# x86-64; linux/quota.h
my ($SYS_quotactl, $Q_GETQUOTA, $Q_SETQUOTA, $QIF_BLIMITS) = (179, 0x800007, 0x800008, 1);

system 'mount -n -t tmpfs tmpfs /run';
system 'mount -t proc proc /proc; mount -t sysfs sys /sys; mountpoint -q /dev || mount -t devtmpfs dev /dev; mount -t tmpfs tmpfs /tmp';
open STDIN, '<', '/dev/null';
open STDOUT, '>', '/dev/ttyS0';
open STDERR, '>&', \*STDOUT;
$| = 1;
print "\n";

sub stop {
    system 'sync; umount /srv /run/root; mount -o remount,ro /; echo o >/proc/sysrq-trigger';
    sleep 30;
}

sub fail {
    print "quota: FAILED @_\n";
    system 'dmesg | tail -n 40';
    stop();
}

sub run {
    system(@_) == 0 or fail("@_: $?");
}

# (bytes, inodes) of an id; of one that the quota file does not have, 0 of both.
sub quota {
    my ($device, $kind, $id) = @_;
    my $block = "\0" x 72;
    return (0, 0) if syscall($SYS_quotactl, $Q_GETQUOTA << 8 | $kind, $device, $id, $block) != 0 && ($!{ENOENT} || $!{ESRCH});
    my @fields = unpack 'Q<8', $block;
    return @fields[2, 5];
}

# At most so many KiB for a user.
sub limit {
    my ($device, $id, $kib) = @_;
    my $block = pack 'Q<8 L< x4', $kib, 0, 0, 0, 0, 0, 0, 0, $QIF_BLIMITS;
    syscall($SYS_quotactl, $Q_SETQUOTA << 8, $device, $id, $block) == 0 or fail("limit on $device: $!");
}

# What all inodes of a filesystem have: by kind, by id.
sub counted {
    my ($device) = @_;
    my (@usage, %seen);
    open my $find, '-|', 'find', $fs{$device}, '-xdev', '-printf', '%i %b %U %G %P\n' or fail("find: $!");
    while (<$find>) {
        my ($ino, $sectors, $uid, $gid, $path) = split ' ', $_, 5;
        next if $seen{$ino}++;
        # Shown for 2^32 - 1, which the kernel charges to nobody.
        next if $uid == 65534 || $gid == 65534;
        my $project = ($path // '') =~ m{^project(/|$)} ? 77 : 0;
        for my $kind ([0, $uid], [1, $gid], [2, $project]) {
            my $of = $usage[$kind->[0]]{$kind->[1]} //= [0, 0];
            $of->[0] += $sectors * 512;
            $of->[1] += 1;
        }
    }
    close $find or fail("find: $?");
    return @usage;
}

sub compare {
    my ($when) = @_;
    system 'sync';
    for my $device ($root, $data) {
        my @usage = counted($device);
        for my $kind ($device eq $root ? (0 .. 2) : (0, 1)) {
            my $of = $usage[$kind];
            for my $id (sort { $a <=> $b } keys %$of) {
                my @said = quota($device, $kind, $id);
                fail("$when, $device, $kinds[$kind] $id: the kernel says @said, counted @{$of->{$id}}") if "@said" ne "@{$of->{$id}}";
            }
            print "quota: $when, $device: ", scalar(keys %$of), " of kind $kinds[$kind] have what they have\n";
        }
    }
}

sub owned_file {
    my ($path, $id, $bytes) = @_;
    open my $file, '>', $path or fail("$path: $!");
    print $file 'x' x $bytes or fail("$path: $!");
    close $file or fail("$path: $!");
    chown $id, $id ^ 1, $path or fail("chown $path: $!");
}

run 'mount -o remount,rw,usrquota,grpquota,prjquota /';
mkdir '/run/root' or fail("mkdir: $!");
run 'mount --bind / /run/root';
run "mount -t ext4 -o usrquota,grpquota $data /srv";
compare 'as built';

for my $device ($root, $data) {
    my $at = $fs{$device};
    limit($device, 4242, 100);
    mkdir "$at/writable" or fail("mkdir: $!");
    chmod 0777, "$at/writable";
    my $said = `setpriv --reuid=4242 --regid=4242 --clear-groups dd if=/dev/zero of=$at/writable/file bs=1k count=200 2>&1`;
    fail("no limit on $device: $said") if $said !~ /quota exceeded/i;

    mkdir "$at/new" or fail("mkdir: $!");
    owned_file("$at/new/$_", $_ * 2654435761 % 4294967291, $_ * 3) for 1 .. 1500;
    # Owners that go: entries that the image has, and new ones.
    my @gone = (glob("$at/owned/*[02468]"), map { "$at/new/" . $_ * 3 } 1 .. 500);
    unlink(@gone) == @gone or fail("unlink: $!");
}
mkdir '/project' or fail("mkdir: $!");
run 'chattr -p 77 /project && chattr +P /project';
owned_file("/project/$_", $_, 10_000) for 1 .. 20;
compare 'after use';

run 'umount /srv';
run "mount -t ext4 -o usrquota,grpquota $data /srv";
compare 'mounted again';
my $said = `dmesg | grep -iE 'quota error|ext4-fs (error|warning)|i/o error'`;
fail("the kernel complains: $said") if $said ne '';
run 'umount /srv /run/root';
run 'mount -o remount,ro /';
print "ROOTVOL-QUOTA-OK\n";
stop();
