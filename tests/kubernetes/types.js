// types.js MANIFESTS.yaml > FILE.ts: every object as a literal of its Kubernetes type, so that the TypeScript compiler finds
// fields that do not exist, fields that are missing, and values of the wrong type.
const fs = require('fs');
const yaml = require('js-yaml');

let count = 0;
for (const object of yaml.loadAll(fs.readFileSync(process.argv[2], 'utf8'))) {
    if (!object) {
        continue;
    }
    const name = `I${object.kind}`;
    console.log(`import type { ${name} as T${count} } from 'kubernetes-models/${object.apiVersion}';`);
    console.log(`// ${object.kind} ${object.metadata.name}`);
    console.log(`export const o${count}: T${count} = ${JSON.stringify(object, null, 1)};`);
    count++;
}
console.error(`${count} objects`);
