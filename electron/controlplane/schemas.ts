// The schema documents of resources/schema, as the bundler packs them.
import protobuf from '../../resources/schema/protobuf.json' with { type: 'json' };

export { schemaDocuments } from '../../resources/schema/documents.ts';

/** Field numbers and types, for request bodies in protobuf. */
export const protobufDescriptors: object = protobuf;
