// The schema documents of resources/schema, as the bundler packs them.
import apps from '../../resources/schema/apps.v1.json' with { type: 'json' };
import autoscaling from '../../resources/schema/autoscaling.v1.json' with { type: 'json' };
import coordination from '../../resources/schema/coordination.v1.json' with { type: 'json' };
import core from '../../resources/schema/core.v1.json' with { type: 'json' };
import discovery from '../../resources/schema/discovery.v1.json' with { type: 'json' };
import meta from '../../resources/schema/meta.v1.json' with { type: 'json' };
import policy from '../../resources/schema/policy.v1.json' with { type: 'json' };
import protobuf from '../../resources/schema/protobuf.json' with { type: 'json' };

export const schemaDocuments: readonly unknown[] = [
  core,
  apps,
  autoscaling,
  coordination,
  discovery,
  meta,
  policy,
];

/** Field numbers and types, for request bodies in protobuf. */
export const protobufDescriptors: object = protobuf;
