// The schema documents of resources/schema, as the bundler packs them.
import type { Descriptions } from '../../resources/schema/descriptions.ts';
import { schemaDocuments as generated } from '../../resources/schema/documents.ts';
import flotilla from '../../resources/schema/flotilla.v1alpha1.json' with { type: 'json' };
import flotillaVolumes from '../../resources/schema/flotilla-volumes.v1alpha1.json' with { type: 'json' };
import metrics from '../../resources/schema/metrics.v1beta1.json' with { type: 'json' };
import protobuf from '../../resources/schema/protobuf.json' with { type: 'json' };

export const schemaDocuments: readonly unknown[] = [
  ...generated,
  flotilla,
  flotillaVolumes,
  metrics,
];

/** Large, and for `kubectl explain` only: not in memory but while a document is made. */
export async function loadDescriptions(): Promise<Descriptions> {
  const { readDescriptions } = await import('../../resources/schema/descriptions.ts');
  return readDescriptions();
}

/** Field numbers and types, for request bodies in protobuf. */
export const protobufDescriptors: object = protobuf;
