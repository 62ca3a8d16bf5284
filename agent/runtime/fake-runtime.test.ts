import { ManualClock } from '#kube/base/clock.ts';
import { runtimeConformance } from '../../test/conformance/runtime.ts';
import { FakeRuntime } from './fake-runtime.ts';

runtimeConformance('fake', async () => {
  const runtime = new FakeRuntime(new ManualClock());
  runtime.addImage('busybox:1');
  const spareImage = ['spare:1', 'spare:2'] as const;
  for (const name of spareImage)
    runtime.addImage(name, { id: 'sha256:spare', names: [...spareImage] });
  runtime.pullable = new Set();
  return {
    runtime,
    image: 'busybox:1',
    spareImage,
    missingImage: 'nosuch:1',
    restarted: () => runtime,
    real: false,
    terminationMessageHostPath: '/dev/null',
  };
});
