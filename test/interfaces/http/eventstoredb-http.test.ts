import { httpContract } from '../../contracts/http.contract.ts';
import { standIns } from '../../support/eventstoredb/stand-ins.ts';
import { servedFolder } from '../../support/served.ts';

for (const { title, start } of Object.values(standIns))
  httpContract(`EventStoreDB's protocol, ${title}`, async () => {
    const eventStore = await start();
    const served = await servedFolder({ EVENTSTORE_URL: eventStore.url });
    return {
      url: served.url,
      async close() {
        await served.close();
        await eventStore.stop();
      },
    };
  });
