import socket,time,http.client,sys
N=10000
s=[]
t=time.time()
for i in range(N):
    k=socket.create_connection(('127.0.0.1',18080)); s.append(k)
print('opened',len(s),round(time.time()-t,2))
lat=[]
for i in range(20):
    t0=time.time()
    c=http.client.HTTPConnection('127.0.0.1',18080,timeout=5)
    c.request('POST','/',b'x',{'ce-specversion':'1.0','ce-id':'i%d'%i,'ce-source':'/p','ce-type':'t'})
    r=c.getresponse(); r.read(); lat.append((r.status,round(time.time()-t0,4))); c.close()
print(lat[:5], max(l for _,l in lat))
t0=time.time()
for k in s: k.settimeout(20); assert k.recv(1)==b''
print('all closed after',round(time.time()-t,2))
