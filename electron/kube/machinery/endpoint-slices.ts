/** On an EndpointSlice: the Service whose endpoints it has. */
export const serviceNameLabel = 'kubernetes.io/service-name';
