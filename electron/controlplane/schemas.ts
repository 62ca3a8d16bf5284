// The schema documents of resources/schema, as the bundler packs them.
import { schemaDocuments as generated } from '../../resources/schema/documents.ts';
import metrics from '../../resources/schema/metrics.v1beta1.json' with { type: 'json' };
import protobuf from '../../resources/schema/protobuf.json' with { type: 'json' };

export const schemaDocuments: readonly unknown[] = [...generated, metrics];

/** Field numbers and types, for request bodies in protobuf. */
export const protobufDescriptors: object = protobuf;
