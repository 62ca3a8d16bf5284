// The forwarder as a process: listens until it is ended.
import { systemClock } from '#kube/base/clock.ts';
import { UserspaceApplier } from '../../../agent/proxy/userspace.ts';
import { forwardedRules, userspacePorts } from './forwarder-rules.ts';

const ownAddresses = (): readonly string[] => [];
const applier = new UserspaceApplier({ clock: systemClock, address: '0.0.0.0', ownAddresses });
const problems = await applier.apply(forwardedRules(userspacePorts));
for (const { message } of problems) process.stderr.write(`${message}\n`);
process.stdout.write('ready\n');
